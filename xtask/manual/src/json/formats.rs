//! The formats of the reference.

/// One format.
#[derive(Debug)]
pub struct Format {
    /// Heading: the command or the file.
    pub title: &'static str,
    /// Sentence without its full stop.
    pub about: &'static str,
    /// Its fields.
    pub content: Content,
}

/// Where the fields are described.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// In the type that is serialized: a file of the repository, and the type's name.
    Type {
        /// Path in the repository.
        file: &'static str,
        /// Name of the struct.
        name: &'static str,
    },
    /// Here, for an object without a type.
    Fields(&'static [Field]),
}

/// Field, type and meaning.
type Field = (&'static str, &'static str, &'static str);

const fn of(title: &'static str, about: &'static str, file: &'static str, name: &'static str) -> Format {
    Format { title, about, content: Content::Type { file, name } }
}

const fn fields(title: &'static str, about: &'static str, fields: &'static [Field]) -> Format {
    Format { title, about, content: Content::Fields(fields) }
}

/// Every format: commands by name, then files.
pub const FORMATS: &[Format] = &[
    of("`boot report --json`", "One object", "crates/boot/src/boot_state.rs", "BootState"),
    of(
        "`direct-url --json`",
        "One object; exit code 1 if there is no address",
        "crates/direct-url/src/lib.rs",
        "Answer",
    ),
    fields(
        "`env-store list --json`",
        "One object with the stored variables",
        &[("*", "text", "value of the variable; `********` for a secret, unless `--show-secrets` is given")],
    ),
    of(
        "`fix-perms --json`",
        "One object, after the steps of a dry run",
        "crates/fix-perms/src/report.rs",
        "Report",
    ),
    of(
        "`fix-perms --dry-run --json`",
        "One object a line for each step, then the object above",
        "crates/fix-perms/src/report.rs",
        "StepLine",
    ),
    of("`gpu-limit --json`", "One object", "crates/gpu-limit/src/report.rs", "Report"),
    of(
        "`image-check --json`",
        "One object; exit code 1 if something failed",
        "crates/image-check/src/lib.rs",
        "Report",
    ),
    of("`logtail --json`", "One object a line", "crates/logtail/src/entry.rs", "Entry"),
    of("`portal-link --json`", "One object", "crates/portal-link/src/lib.rs", "LoginLink"),
    of("`provision run --json`", "One object", "crates/provision/src/report.rs", "Report"),
    of("`provision status --json`", "One object", "crates/provision/src/status.rs", "Status"),
    of(
        "`selftest --json`",
        "One object; exit code 1 if a check failed",
        "crates/selftest/src/output.rs",
        "Summary",
    ),
    of("`share SERVICE --json`", "One object", "crates/share/src/lib.rs", "CreatedLink"),
    of(
        "`share --list --json`",
        "One object a line for each link",
        "crates/portal-control/src/lib.rs",
        "Share",
    ),
    of(
        "`share --revoke ID --json`",
        "One object; exit code 1 if there was no such link",
        "crates/portal-control/src/lib.rs",
        "RevokedCount",
    ),
    fields(
        "`storage-monitor explain --json`",
        "One object a line for each place that the file can be linked to",
        &[
            ("place", "text", "path of the link, or of the directory"),
            ("state", "text", "what is there, in one word"),
            ("reason", "text", "sentence for people"),
        ],
    ),
    fields(
        "`storage-monitor once --json`",
        "One object; nothing while the monitor runs, which then does the work",
        &[("linked", "number", "links that were created"), ("removed", "number", "links that were removed")],
    ),
    fields(
        "`storage-monitor plan --json`",
        "One object a line for each step; the same of `once --dry-run --json`",
        &[
            ("step", "text", "what would be done, in one word"),
            ("path", "text", "where, quoted"),
            ("to", "text or null", "target of the link, quoted"),
        ],
    ),
    of(
        "`storage-monitor status --json`",
        "The content of `/run/leonardo/storage-monitor.json`; nothing before its first scan",
        "crates/storage-monitor/src/status.rs",
        "Status",
    ),
    of("`workspace-sync copy --json`", "One object", "crates/tree-copy/src/options.rs", "PassStats"),
    of(
        "`workspace-sync run --json`",
        "One object a line for each tree",
        "crates/workspace-sync/src/report.rs",
        "Report",
    ),
    fields(
        "`workspace-sync run --dry-run --json`",
        "One object a line for each step",
        &[("tree", "text", "name of the tree below `/opt`"), ("step", "text", "sentence for people")],
    ),
    of(
        "`workspace-sync status --json`",
        "One object a line for each tree",
        "crates/workspace-sync/src/status.rs",
        "Status",
    ),
    of(
        "`workspace-sync verify --json`",
        "One object a line for each tree",
        "crates/workspace-sync/src/verify.rs",
        "VerifyReport",
    ),
    of("`cargo xtask up --json`", "One object", "xtask/src/up/up_output.rs", "UpOutput"),
    of(
        "`/run/http_ports/PORT`",
        "Entry of a web service, which `service-run` or a program of yours writes ([services.md](../services.md))",
        "crates/ports/src/service.rs",
        "Service",
    ),
    of(
        "`/run/leonardo/boot.jsonl`",
        "The boot journal: one object a line",
        "crates/journal/src/event.rs",
        "Entry",
    ),
    of(
        "`/run/leonardo/programs.json`",
        "An object for each program of supervisord by its name",
        "crates/journal/src/down_programs.rs",
        "Program",
    ),
    of(
        "`/run/leonardo/program-exits.json`",
        "An object for each program that exited, by its name",
        "crates/journal/src/program_exits.rs",
        "ProgramExit",
    ),
    of(
        "`/run/leonardo/quicktunnel.json` and `cloudflared.json`",
        "One object, while the program runs",
        "crates/tunnels/src/status.rs",
        "Status",
    ),
    of(
        "`/var/lib/leonardo/provisioning/state.json`",
        "One object, once a script has run",
        "crates/provision/src/state.rs",
        "RunRecord",
    ),
    of(
        "`.move_complete`",
        "One object in the root of each complete copy on the workspace",
        "crates/workspace-sync/src/copy_marker.rs",
        "Marker",
    ),
];

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::tools::TOOLS;

    /// Commands that have the option `--json`, with their subcommands' names.
    fn with_json(command: &Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path}{}", command.get_name());
        if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
            found.push(path.clone());
        }
        command.get_subcommands().for_each(|below| with_json(below, &format!("{path} "), found));
    }

    #[test]
    fn every_command_with_the_option_has_its_format() {
        let mut commands = Vec::new();
        TOOLS.iter().for_each(|tool| with_json(&(tool.command)(), "", &mut commands));
        assert!(commands.len() > 15, "{commands:?}");
        let is_missing = |command: &String| {
            !FORMATS.iter().any(|format| {
                format.title.starts_with(&format!("`{command} ")) && format.title.contains("--json`")
            })
        };
        commands.retain(is_missing);
        assert_eq!(commands, [""; 0], "add them to FORMATS");
    }
}
