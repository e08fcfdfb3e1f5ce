//! What a container needs to start: `init`, supervisord, its configuration, and the programs of the base image.

use std::collections::BTreeSet;
use std::path::Path;

use kit::{Env, ReadPolicy};
use process_control::BaseProgram;

use crate::executable;
use crate::finding::Finding;
use crate::supervisor_parser::{Configuration, ProgramFile, abbreviate};

const CHECK: &str = "start";
/// The image's command.
const INIT: &str = "/opt/leonardo/bin/init.sh";
/// Patterns of programs, each with the effect if it is missing.
const INCLUDES: [(&str, &str); 2] = [
    ("/etc/supervisor/base.d/*.conf", "no program of the base image starts"),
    ("/run/leonardo/programs/*.conf", "no program of conf.d starts"),
];
const SOCKET: &str = "/run/supervisor.sock";
const LOGS: &str = "/var/log/supervisor";
/// Maximum size of the configuration in bytes.
const MAX_BYTES: u64 = 1 << 20;
const STOPPED: &str = "the container does not start";
const FIX: &str = "keep the base image's file; your programs go into /etc/supervisor/conf.d";

/// Checks the programs that start a container.
pub fn check_programs(env: &Env) -> Vec<Finding> {
    let unusable = [INIT, init::SUPERVISORD].into_iter().filter_map(|program| {
        let unusable = executable::check(Path::new(program), env).err()?;
        // The place has the path already.
        let problem = unusable.problem.trim_start_matches(program).trim_start_matches([' ', ':']);
        Some(Finding::fault(CHECK, program, problem, STOPPED, "keep the base image's file"))
    });
    unusable.collect()
}

/// Checks that supervisord can read its configuration.
pub fn check_readable() -> Result<(), Finding> {
    ReadPolicy::max_size(MAX_BYTES).read(Path::new(init::CONFIGURATION)).map(drop).map_err(|error| {
        let error = error.to_string();
        let repeated = format!("cannot read {}: ", init::CONFIGURATION);
        let problem = error.strip_prefix(&repeated).unwrap_or(&error);
        Finding::fault(CHECK, init::CONFIGURATION, problem, STOPPED, FIX)
    })
}

/// Judges supervisord's own options.
pub fn judge(configuration: &Configuration) -> Vec<Finding> {
    let fault =
        |problem: String, effect: &str| Finding::fault(CHECK, init::CONFIGURATION, problem, effect, FIX);
    let Configuration { error, includes, sockets, is_public, has_interface, uid, log_directory } =
        configuration;
    if let Some(error) = error {
        return vec![fault(abbreviate(error), STOPPED)];
    }
    let mut findings: Vec<_> = INCLUDES
        .iter()
        .filter(|(pattern, _)| !includes.iter().any(|include| include == pattern))
        .map(|(pattern, effect)| fault(format!("it does not include {pattern}"), effect))
        .collect();
    if !has_interface || !sockets.iter().any(|socket| socket == SOCKET) {
        let problem = format!("no [rpcinterface:supervisor], or no [unix_http_server] with file={SOCKET}");
        findings.push(fault(problem, "no program of conf.d starts, and no tool can manage the others"));
    }
    if *is_public {
        let effect = "everyone who reaches its port can run programs as root";
        findings.push(fault("it has an [inet_http_server]".to_owned(), effect));
    }
    if *uid != 0 {
        let problem = format!("supervisord runs as user {uid}");
        findings.push(fault(problem, "programs that need root do not start"));
    }
    if log_directory != Path::new(LOGS) {
        let problem = format!("childlogdir is not {LOGS}");
        findings.push(fault(problem, "logs of programs without a stdout_logfile are not shown"));
    }
    findings
}

/// Returns the programs of the base image that are missing in the files that start with the container.
pub fn missing_programs(files: &[ProgramFile], is_base: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let base: Vec<_> = files.iter().filter(|file| is_base(&file.file)).collect();
    // Reported already, and its programs are unknown.
    if base.iter().any(|file| file.error.is_some()) {
        return Vec::new();
    }
    let sections = base.iter().flat_map(|file| &file.sections);
    let declared: BTreeSet<&str> =
        sections.filter_map(|section| section.header.strip_prefix("program:")).map(str::trim).collect();
    let missing = process_control::BASE_PROGRAMS.iter().filter(|program| !declared.contains(program.name));
    let finding = |BaseProgram { name, description, protection, .. }: &BaseProgram| {
        let problem = format!("[program:{name}] of the base image is missing");
        let effect = format!("containers are without: {description}");
        let fix = format!("keep the file of the base image: /etc/supervisor/base.d/{name}.conf");
        let finding = Finding::fault(CHECK, "/etc/supervisor/base.d", problem, effect, fix);
        // A run of boot may be stopped, but without it no program of conf.d starts.
        if protection.is_some() || *name == "boot" { finding } else { finding.as_warning() }
    };
    missing.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use crate::supervisor_parser::Section;

    fn of_base_image() -> Configuration {
        Configuration {
            includes: INCLUDES.iter().map(|(pattern, _)| (*pattern).to_owned()).collect(),
            sockets: vec![SOCKET.to_owned()],
            has_interface: true,
            log_directory: LOGS.into(),
            ..Configuration::default()
        }
    }

    #[test]
    fn each_option_that_a_container_needs_is_checked() {
        let base = of_base_image();
        assert_eq!(judge(&base), []);
        let own = Configuration {
            includes: vec!["/etc/supervisor/conf.d/*.conf".to_owned()],
            sockets: vec!["/var/run/supervisor.sock".to_owned()],
            is_public: true,
            uid: 33,
            log_directory: "/tmp".into(),
            ..of_base_image()
        };
        let texts: Vec<_> =
            judge(&own).into_iter().map(|found| format!("{} > {}", found.problem, found.effect)).collect();
        assert_eq!(
            texts,
            [
                "it does not include /etc/supervisor/base.d/*.conf > no program of the base image starts",
                "it does not include /run/leonardo/programs/*.conf > no program of conf.d starts",
                "no [rpcinterface:supervisor], or no [unix_http_server] with file=/run/supervisor.sock > \
                 no program of conf.d starts, and no tool can manage the others",
                "it has an [inet_http_server] > everyone who reaches its port can run programs as root",
                "supervisord runs as user 33 > programs that need root do not start",
                "childlogdir is not /var/log/supervisor > logs of programs without a stdout_logfile are not shown",
            ]
        );
        let refused = Configuration { error: Some("x".to_owned()), ..Configuration::default() };
        assert_eq!(judge(&refused).len(), 1);
    }

    #[test]
    fn a_missing_program_of_the_base_image_is_a_fault_if_the_portal_needs_it() {
        let sections = process_control::BASE_PROGRAMS.iter().map(|program| program.name);
        let sections =
            sections.filter(|name| !["caddy", "rclone", "boot"].contains(name)).map(|name| Section {
                header: format!("program:{name}"),
                error: None,
                environment: String::new(),
                programs: Vec::new(),
            });
        let mut file = ProgramFile {
            file: "/b/all.conf".into(),
            error: None,
            repeated: None,
            sections: sections.collect(),
        };
        let is_base = |path: &Path| path.starts_with("/b");
        let missing = |file: &ProgramFile| missing_programs(std::slice::from_ref(file), is_base);
        let found = missing_programs(&[], is_base).len();
        assert_eq!(found, process_control::BASE_PROGRAMS.len());
        let verdicts: Vec<_> =
            missing(&file).iter().map(|found| (found.verdict, found.problem.clone())).collect();
        let expected = |verdict, name| (verdict, format!("[program:{name}] of the base image is missing"));
        assert_eq!(
            verdicts,
            [
                expected(Verdict::Fail, "boot"),
                expected(Verdict::Fail, "caddy"),
                expected(Verdict::Warn, "rclone")
            ]
        );
        file.error = Some("no section headers".to_owned());
        assert_eq!(missing(&file), []);
    }
}
