//! Programs that a request means, and whether the action is possible.

use crate::base_programs;
use crate::process_info::ProcessInfo;
use crate::protocol::{Action, Refusal, RefusalKind};

/// Returns the processes that `name` means: one, or those of `GROUP:*`. Only names of supervisord's own list are accepted,
/// and only these are sent to it.
pub fn select(processes: &[ProcessInfo], name: &str) -> Vec<ProcessInfo> {
    let is_meant = |process: &&ProcessInfo| match name.strip_suffix(":*") {
        Some(group) => process.group == group,
        None => process.full_name() == name,
    };
    processes.iter().filter(is_meant).cloned().collect()
}

/// Returns why an action on these processes among all of them is refused.
pub fn check(
    action: Action,
    name: &str,
    processes: &[ProcessInfo],
    all: &[ProcessInfo],
) -> Result<(), Refusal> {
    if processes.is_empty() {
        return Err(Refusal::new(RefusalKind::Unknown, format!("supervisord has no program {name:?}")));
    }
    for process in processes {
        if process.is_ambiguous() {
            let message = format!("supervisord would take {name:?} for a whole group; use supervisorctl");
            return Err(Refusal::new(RefusalKind::Protected, message));
        }
        let Some(base) = base_programs::find(process, all) else { continue };
        let is_possible = match action {
            Action::Start => true,
            Action::Stop => base.protection.is_none(),
            Action::Restart => base.can_restart,
        };
        if !is_possible {
            let verb = if action == Action::Stop { "stopped" } else { "restarted" };
            let reason = base.protection.unwrap_or_default();
            let message = format!("{} cannot be {verb} here: {reason}", process.full_name());
            return Err(Refusal::new(RefusalKind::Protected, message));
        }
    }
    let conflict = match action {
        Action::Start if processes.iter().all(ProcessInfo::is_running) => "is already running",
        Action::Start if processes.iter().all(|process| process.state == "STOPPING") => "is still stopping",
        Action::Stop if processes.iter().all(ProcessInfo::is_stopped) => "does not run",
        _ => return Ok(()),
    };
    let state = if processes.len() == 1 { format!(" ({})", processes[0].state) } else { String::new() };
    Err(Refusal::new(RefusalKind::Conflict, format!("{name} {conflict}{state}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(group: &str, name: &str, state: &str) -> ProcessInfo {
        ProcessInfo { group: group.into(), name: name.into(), state: state.into(), ..ProcessInfo::default() }
    }

    #[test]
    fn a_name_means_itself_and_only_a_whole_group_has_a_star() {
        let processes = [
            process("a", "a", "RUNNING"),
            process("g", "g_0", "RUNNING"),
            process("g", "g_1", "STOPPED"),
            process("<b>", "<b>", "RUNNING"),
            process("ä&\"", "ä&\"", "RUNNING"),
            process("x", "a", "RUNNING"),
        ];
        let selected = |name: &str| {
            let selected = select(&processes, name);
            selected.iter().map(ProcessInfo::full_name).collect::<Vec<_>>().join(" ")
        };
        for (name, expected) in [
            ("a", "a"),
            ("x:a", "x:a"),
            ("g:g_0", "g:g_0"),
            ("g:*", "g:g_0 g:g_1"),
            ("a:*", "a"),
            ("<b>", "<b>"),
            ("ä&\"", "ä&\""),
            // supervisord takes these for groups, several programs or other forms of a name.
            ("g", ""),
            ("g:", ""),
            ("a:a", ""),
            ("*", ""),
            ("*:*", ""),
            (":*", ""),
            ("all", ""),
            ("g:g_*", ""),
            ("g:g_?", ""),
            ("a ", ""),
            ("a b", ""),
            ("A", ""),
            ("a\0", ""),
            ("a\n", ""),
            ("", ""),
        ] {
            assert_eq!(selected(name), expected, "{name:?}");
        }
    }

    #[test]
    fn the_door_stays_open_and_an_action_without_an_effect_is_refused() {
        use Action::{Restart, Start, Stop};
        use RefusalKind::{Conflict, Protected, Unknown};
        let running = |name: &str| process(name, name, "RUNNING");
        let group = [process("g", "g_0", "RUNNING"), process("g", "g_1", "FATAL")];
        let with_caddy = [process("g", "mine", "RUNNING"), process("g", "caddy", "RUNNING")];
        for (action, processes, expected) in [
            (Stop, &[][..], Some(Unknown)),
            (Stop, &[running("mine")], None),
            (Start, &[running("mine")], Some(Conflict)),
            (Restart, &[running("mine")], None),
            (Start, &[process("m", "m", "BACKOFF")], Some(Conflict)),
            (Stop, &[process("m", "m", "BACKOFF")], None),
            (Start, &[process("m", "m", "STOPPING")], Some(Conflict)),
            (Restart, &[process("m", "m", "STOPPING")], None),
            (Stop, &[process("m", "m", "EXITED")], Some(Conflict)),
            (Restart, &[process("m", "m", "FATAL")], None),
            (Stop, &group, None),
            (Start, &group, None),
            (Stop, &[running("sshd")], None),
            (Stop, &[running("caddy")], Some(Protected)),
            (Stop, &[running("serviceportal")], Some(Protected)),
            (Stop, &[running("logtail")], Some(Protected)),
            (Stop, &[running("processcontrol")], Some(Protected)),
            (Restart, &[running("caddy")], None),
            (Restart, &[running("processcontrol")], Some(Protected)),
            (Restart, &[process("*", "*", "RUNNING")], Some(Protected)),
            (Stop, &with_caddy, Some(Protected)),
            (Restart, &with_caddy, None),
        ] {
            let refusal = check(action, "x", processes, processes).err().map(|refusal| refusal.kind);
            assert_eq!(refusal, expected, "{action} {processes:?}");
        }
        let of_user = [process("g", "caddy", "RUNNING")];
        let all = [&of_user[..], &[running("caddy")]].concat();
        assert!(check(Stop, "g:caddy", &of_user, &all).is_ok(), "a program of the user with that name");
    }
}
