//! Programs as the page shows them.

use std::path::Path;

use kit::duration::words;
use kit::units::format_memory;
use process_control::{Action, Program};

use super::action::caution;
use super::exit_log;
use crate::status::counted;

/// Heading with programs.
pub struct Section {
    pub title: &'static str,
    pub groups: Vec<Group>,
    /// True for the programs of the base image.
    pub is_base: bool,
}

impl Section {
    /// True if a program is not as it should be.
    pub fn has_problem(&self) -> bool {
        self.rows().any(|row| row.class == "bad")
    }

    /// Returns `9 running, 3 stopped`.
    pub fn summary(&self) -> String {
        let running = self.rows().filter(|row| row.pid.is_some()).count();
        format!("{running} running, {} stopped", self.rows().count() - running)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|group| &group.rows)
    }
}

/// Programs with the same group.
pub struct Group {
    /// Name for actions on all of them; nothing for a program by itself.
    pub all: Option<String>,
    pub actions: Vec<Button>,
    pub rows: Vec<Row>,
}

pub struct Row {
    /// Name as `supervisorctl` has it.
    pub name: String,
    pub id: String,
    /// Group, for actions on all of it.
    pub group: String,
    pub description: Option<String>,
    /// Name of its log in the portal, for a URL.
    pub log: Option<String>,
    pub state: String,
    /// Class of the state.
    pub class: &'static str,
    /// Process id.
    pub pid: Option<u32>,
    /// Time since the start in words.
    pub uptime: Option<String>,
    /// Processor time, in percent of one core.
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub exit: Option<ExitView>,
    pub actions: Vec<Button>,
    /// Reason why it cannot be stopped.
    pub protection: Option<String>,
}

/// Last exit of a program.
pub struct ExitView {
    /// How it ended.
    pub sentence: String,
    /// Time since then in words.
    pub ago: String,
    /// Number of restarts by supervisord in words.
    pub restarts: Option<String>,
    /// True if it was neither requested nor expected.
    pub is_failure: bool,
    /// Last lines of its log before.
    pub lines: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Button {
    /// The action's name.
    pub action: String,
    pub label: &'static str,
    /// True if the user has to confirm the action.
    pub has_caution: bool,
}

/// Returns the programs below their headings; reads logs below `root`.
pub fn sections(programs: &[Program], now: u64, root: &Path) -> Vec<Section> {
    let of_base = |program: &Program| program.description.is_some();
    let section = |title, is_base: bool| {
        let mut groups: Vec<Group> = Vec::new();
        let mut name = None;
        for program in programs.iter().filter(|program| of_base(program) == is_base) {
            if name != Some(&program.group) {
                groups.push(Group { all: None, actions: Vec::new(), rows: Vec::new() });
                name = Some(&program.group);
            }
            if let Some(group) = groups.last_mut() {
                group.rows.push(row(program, now, root));
            }
        }
        for group in groups.iter_mut().filter(|group| group.rows.len() > 1) {
            let name = &group.rows[0].group;
            let members: Vec<&Program> = programs.iter().filter(|program| program.group == *name).collect();
            group.actions = of_group(&members);
            group.all = Some(format!("{name}:*"));
        }
        if is_base {
            groups.sort_by_key(|group| group.rows.iter().all(|row| row.class == "muted"));
        }
        Section { title, groups, is_base }
    };
    let sections = [section("Your programs", false), section("Programs of the base image", true)];
    sections.into_iter().filter(|section| !section.groups.is_empty()).collect()
}

fn row(program: &Program, now: u64, root: &Path) -> Row {
    let (state, class) = state(program);
    let log = program.log.as_deref().and_then(journal::log_name);
    let log = log.map(|name| form_urlencoded::byte_serialize(name.as_bytes()).collect());
    let count = usize::try_from(program.restarts).unwrap_or(usize::MAX);
    let exit = program.last_exit.as_ref().map(|exit| ExitView {
        sentence: exit.sentence.clone(),
        // Whole seconds are enough.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        ago: words(now.saturating_sub(exit.at.max(0.0) as u64)),
        restarts: (program.restarts > 0).then(|| counted(count, "restart")),
        is_failure: !exit.expected,
        lines: if exit.expected { Vec::new() } else { exit_log::last_lines(root, exit) },
    });
    Row {
        id: element_id(&program.name),
        group: program.group.clone(),
        description: program.description.clone(),
        log,
        state,
        class,
        pid: program.pid,
        uptime: program.uptime.map(words),
        cpu: program.cpu_percent.map(|percent| format!("{percent:.1} %")),
        memory: program.memory_bytes.map(format_memory),
        exit,
        actions: actions(program),
        protection: program.protection.clone(),
        name: program.name.clone(),
    }
}

/// Returns an element id: a name may have any characters.
fn element_id(name: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    format!(
        "program-{}-{}",
        name.chars().map(safe).collect::<String>(),
        &kit::hex::sha256(name.as_bytes())[..6]
    )
}

fn state(program: &Program) -> (String, &'static str) {
    let idle = program.last_exit.as_ref().is_none_or(|exit| exit.expected);
    let (text, class) = match program.state.as_str() {
        "RUNNING" => ("running", "good"),
        "STARTING" => ("starting", "busy"),
        "STOPPING" => ("stopping", "busy"),
        "BACKOFF" => ("down, restarted soon", "bad"),
        "FATAL" => ("failed", "bad"),
        "EXITED" if idle => ("exited", "muted"),
        "EXITED" => ("exited", "bad"),
        "STOPPED" if program.protection.is_some() => ("stopped", "bad"),
        "STOPPED" => ("stopped", "muted"),
        other => return (other.to_lowercase(), "warn"),
    };
    let text = match program.action {
        Some(Action::Restart) => format!("restarting: {text}"),
        _ => text.to_owned(),
    };
    (text, class)
}

fn button(program: &Program, action: Action) -> Button {
    let label = match action {
        Action::Start => "Start",
        Action::Stop => "Stop",
        Action::Restart => "Restart",
    };
    Button { action: action.to_string(), label, has_caution: caution([program], action).is_some() }
}

fn actions(program: &Program) -> Vec<Button> {
    let possible: &[Action] = match program.state.as_str() {
        _ if program.action.is_some() => &[],
        "RUNNING" | "STARTING" | "BACKOFF" => &[Action::Restart, Action::Stop],
        "STOPPING" => &[],
        _ => &[Action::Start],
    };
    let is_allowed = |action: &&Action| match action {
        Action::Start => true,
        Action::Stop => program.can_stop,
        Action::Restart => program.can_restart,
    };
    possible.iter().filter(is_allowed).map(|action| button(program, *action)).collect()
}

fn of_group(members: &[&Program]) -> Vec<Button> {
    let runs = |program: &&Program| matches!(program.state.as_str(), "RUNNING" | "STARTING" | "BACKOFF");
    let button = |action: Action, label| Button {
        action: action.to_string(),
        label,
        has_caution: caution(members.iter().copied(), action).is_some(),
    };
    let mut buttons = Vec::new();
    if members.iter().any(|program| program.action.is_some()) {
        return buttons;
    }
    if members.iter().any(runs) && members.iter().all(|program| program.can_restart) {
        buttons.push(button(Action::Restart, "Restart all"));
    }
    if !members.iter().all(runs) {
        buttons.push(button(Action::Start, "Start all"));
    }
    if members.iter().any(runs) && members.iter().all(|program| program.can_stop) {
        buttons.push(button(Action::Stop, "Stop all"));
    }
    buttons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(group: &str, name: &str, state: &str) -> Program {
        let name = if group == name { name.to_owned() } else { format!("{group}:{name}") };
        let state = state.to_owned();
        Program {
            name,
            group: group.to_owned(),
            state,
            can_stop: true,
            can_restart: true,
            ..Program::default()
        }
    }

    #[test]
    fn each_state_has_the_actions_that_change_it() {
        let labels = |program: &Program| {
            let actions = actions(program);
            actions.iter().map(|button| button.label).collect::<Vec<_>>().join(" ")
        };
        for (state, expected) in [
            ("RUNNING", "Restart Stop"),
            ("STARTING", "Restart Stop"),
            ("BACKOFF", "Restart Stop"),
            ("STOPPING", ""),
            ("STOPPED", "Start"),
            ("EXITED", "Start"),
            ("FATAL", "Start"),
            ("UNKNOWN", "Start"),
        ] {
            assert_eq!(labels(&program("a", "a", state)), expected, "{state}");
        }
        let protected = Program { can_stop: false, ..program("a", "a", "RUNNING") };
        assert_eq!(labels(&protected), "Restart");
        assert_eq!(labels(&Program { can_restart: false, ..protected }), "");
        let busy = Program { action: Some(Action::Restart), ..program("a", "a", "STARTING") };
        assert_eq!((labels(&busy).as_str(), state(&busy).0.as_str()), ("", "restarting: starting"));
    }

    #[test]
    fn programs_of_the_user_come_first_and_a_group_has_actions_on_all_of_it() {
        let caddy = Program { description: Some("web".into()), ..program("pair", "caddy", "RUNNING") };
        let programs = [
            program("alone", "alone", "RUNNING"),
            caddy,
            program("pair", "pair_0", "RUNNING"),
            program("pair", "pair_1", "FATAL"),
            program("<b>", "<b>", "RUNNING"),
        ];
        let shown = sections(&programs, 1, Path::new("/"));
        let titles: Vec<&str> = shown.iter().map(|section| section.title).collect();
        assert_eq!(titles, ["Your programs", "Programs of the base image"]);
        let groups: Vec<(Option<&str>, usize)> =
            shown[0].groups.iter().map(|group| (group.all.as_deref(), group.rows.len())).collect();
        assert_eq!(groups, [(None, 1), (Some("pair:*"), 2), (None, 1)]);
        let labels: Vec<&str> = shown[0].groups[1].actions.iter().map(|button| button.label).collect();
        assert_eq!(labels, ["Restart all", "Start all", "Stop all"]);
        let ids: Vec<&str> = shown[0].groups.iter().map(|group| group.rows[0].id.as_str()).collect();
        assert!(ids[2].starts_with("program--b--") && ids[0] != ids[2], "{ids:?}");
    }
}
