//! Lines with `service-run`, read by its own parser, and programs that listen past the login.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use kit::quote::quoted;
use service_run::Declaration;

use crate::executable::Unusable;
use crate::finding::Finding;
use crate::programs::RegisteredCommand;

const CHECK: &str = "services";
const SERVICE_RUN: &str = "service-run";

/// Checks all commands; `find` returns the problem of a program that cannot be run, `is_private` is true for a path that only
/// root can read. Also returns the number of services.
pub fn check(
    commands: &[RegisteredCommand],
    find: &dyn Fn(&str) -> Option<Unusable>,
    is_private: &dyn Fn(&Path) -> bool,
) -> (Vec<Finding>, usize) {
    let mut findings = Vec::new();
    let mut ports: BTreeMap<u16, String> = BTreeMap::new();
    let mut services = 0;
    for RegisteredCommand { file, name, words } in commands {
        let mut fault = |problem: String, effect: &str, fix: &str| {
            let problem = format!("[program:{name}]: {problem}");
            findings.push(Finding::fault(CHECK, file.display(), problem, effect, fix));
        };
        // Behind `boot wait … --` or `env-store exec --` too.
        let is_service_run = |word: &OsStr| Path::new(word).file_name() == Some(OsStr::new(SERVICE_RUN));
        let Some(start) = words.iter().position(|word| is_service_run(word)) else {
            if words.iter().any(|word| is_every_address(word)) {
                fault(
                    "the program listens on all addresses".to_owned(),
                    "its port needs no login, also from other containers",
                    "use service-run, with 127.0.0.1 as the program's address",
                );
            }
            continue;
        };
        services += 1;
        let declared = match Declaration::parse(&words[start..]) {
            Ok(declared) => declared,
            Err(error) => {
                let problem = format!("{error:#}");
                let problem = problem.lines().next().unwrap_or_default().trim_start_matches("error: ");
                let fix = "correct the line: service-run --help";
                fault(format!("service-run: {problem}"), "the service does not start", fix);
                continue;
            }
        };
        for port in [Some(declared.port), declared.listen_port].into_iter().flatten() {
            if let Some(other) = ports.insert(port, name.clone()) {
                fault(
                    format!("port {port} is also a port of {other}"),
                    "one of the two does not start",
                    "choose another port",
                );
            }
        }
        if declared.command.iter().any(|word| is_every_address(word)) {
            fault(
                "the program listens on all addresses".to_owned(),
                "its port is reachable from other containers without a login",
                "make it listen on 127.0.0.1",
            );
        }
        let program = declared.command.first().map(|word| word.to_string_lossy().into_owned());
        if let Some(Unusable { problem, fix }) = program.and_then(|program| find(&program)) {
            fault(problem, "the service fails at each start", &fix);
        }
        let paths = declared.command.iter().map(Path::new).filter(|path| path.is_absolute());
        if let Some(path) =
            paths.filter(|_| declared.user.as_deref() != Some("root")).find(|path| is_private(path))
        {
            let path = quoted(path);
            fault(
                format!("only root can read {path}"),
                "the service, which does not run as root, cannot use it",
                "in the step that creates it: chmod -R g+rX on its tree && fix-perms --only container",
            );
        }
    }
    (findings, services)
}

/// True for an argument that makes a program listen on all addresses.
fn is_every_address(word: &OsStr) -> bool {
    let Some(word) = word.to_str() else { return false };
    let address = word.rsplit_once('=').map_or(word, |(_, value)| value);
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    ["0.0.0.0", "::", "[::]"].contains(&address)
        || address.starts_with("0.0.0.0:")
        || address.starts_with("[::]:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_judged_as_service_run_reads_it() {
        let command = |(name, line): &(&str, &str)| RegisteredCommand {
            file: "/etc/supervisor/conf.d/x.conf".into(),
            name: (*name).to_owned(),
            words: line.split(' ').map(Into::into).collect(),
        };
        let commands: Vec<_> = [
            ("good", "boot wait sync -- service-run --name A --port 8188 -- main --port {listen}"),
            ("same", "service-run --name B --port 8188 -- main --port {listen}"),
            ("portal", "/opt/leonardo/bin/service-run --name C --port 1111 -- main {listen}"),
            ("open", "service-run --name D --port 8190 -- main --host=0.0.0.0 --port {listen}"),
            ("missing", "service-run --name E --port 8191 -- absent {listen}"),
            ("fixed", "service-run --name F --port 8192 -- main"),
            ("closed", "service-run --name G --port 8193 -- main /opt/app/key {listen}"),
            ("root", "service-run --name H --port 8194 --user root -- main /opt/app/key {listen}"),
            ("bare", "jupyter lab --ip 0.0.0.0"),
            ("quiet", "main --version 10.0.0.0"),
        ]
        .iter()
        .map(command)
        .collect();
        let find = |program: &str| {
            (program == "absent").then(|| Unusable {
                problem: "absent is not in PATH".to_owned(),
                fix: "install it".to_owned(),
            })
        };
        let (findings, services) = check(&commands, &find, &|path| path == Path::new("/opt/app/key"));
        let texts: Vec<_> = findings
            .iter()
            .map(|found| format!("{} > {} > {}", found.problem, found.effect, found.remedy))
            .collect();
        assert_eq!(
            texts,
            [
                "[program:same]: port 8188 is also a port of good > one of the two does not start > choose another port",
                "[program:portal]: service-run: port 1111 is reserved > the service does not start > \
                 correct the line: service-run --help",
                "[program:open]: the program listens on all addresses > \
                 its port is reachable from other containers without a login > make it listen on 127.0.0.1",
                "[program:missing]: absent is not in PATH > the service fails at each start > \
                 install it",
                "[program:fixed]: service-run: the command does not contain {listen} > the service does not start > \
                 correct the line: service-run --help",
                "[program:closed]: only root can read \"/opt/app/key\" > \
                 the service, which does not run as root, cannot use it > \
                 in the step that creates it: chmod -R g+rX on its tree && fix-perms --only container",
                "[program:bare]: the program listens on all addresses > \
                 its port needs no login, also from other containers > \
                 use service-run, with 127.0.0.1 as the program's address",
            ]
        );
        assert_eq!(services, 8);
    }
}
