//! The summary at the end of a start, in the container's output: the portal's address, the login, SSH and problems.

use std::fs;
use std::path::Path;

use kit::duration::seconds;
use kit::process::Process;
use kit::variables::{self, Kind};
use kit::{Env, SettingsReader};

use crate::boot_state::BootState;

/// Port of the portal inside the container.
const PORTAL: u16 = 1111;
/// Default path of sshd's pid file (sshd(8), FILES).
const SSHD_PID: &str = "/run/sshd.pid";
/// Absolute, because `docker exec` uses the image's `PATH`, which may lack our directory.
const LINK: &str = "/opt/leonardo/bin/portal-link";
const REPORT: &str = "/opt/leonardo/bin/boot report";

/// Returns the lines, without secrets; `host` is the container's host name.
pub fn lines(env: &Env, host: &str, state: &BootState) -> Vec<String> {
    let mut lines = vec![ready(env, state), portal(env, host)];
    lines.extend(login(env, host));
    lines.extend([ssh(env, state), problems(env, host, state)]);
    lines
}

fn ready(env: &Env, state: &BootState) -> String {
    let began = state.timeline.began.or_else(|| state.timeline.stages.first().map(|run| run.began));
    let ended = state.timeline.stage_run(journal::Stage::Ready).and_then(|ready| ready.ended);
    let mut line = "ready".to_owned();
    if let (Some(began), Some(ended)) = (began, ended) {
        line.extend([", ", &seconds(ended - began), " after the start"]);
    }
    if SettingsReader::new(env).switch(&variables::WORKSPACE_SYNC) && state.timeline.running_sync().is_some()
    {
        line += "; sync continues in the background";
    }
    line
}

fn portal(env: &Env, host: &str) -> String {
    match cloud::address(env, PORTAL) {
        Ok(address) if !address.is_assumed => format!("portal: {}", address.url),
        Err(reason) if is_remote(env) => {
            let hint = reason.hint().map_or_else(String::new, |hint| format!("; {hint}"));
            format!("portal: port {PORTAL} of the container; {reason}{hint}")
        }
        _ => format!(
            "portal: {}, where {PORTAL} is the port inside the container; the one outside: docker port {} {PORTAL}",
            cloud::web_url(env, "localhost", PORTAL),
            container(host)
        ),
    }
}

fn login(env: &Env, host: &str) -> Vec<String> {
    if !SettingsReader::new(env).switch(&variables::WEB_ENABLE_AUTH) {
        return vec!["login: disabled (WEB_ENABLE_AUTH=false)".to_owned()];
    }
    let user = env.text("WEB_USER").unwrap_or("user");
    if is_remote(env) {
        return vec![
            format!("login: user {user}, to see the password, run in the container: env | grep WEB_"),
            format!("one-time login link: run in the container: {LINK}"),
        ];
    }
    let name = container(host);
    vec![
        format!("login: user {user}, password by: docker exec {name} bash -lc 'env | grep WEB_'"),
        format!("one-time login link: docker exec {name} {LINK}"),
    ]
}

fn ssh(env: &Env, state: &BootState) -> String {
    // It may have been started by hand.
    if env.text("LEONARDO_AUTOSTART_SSHD") == Some("true") || is_running(Path::new(SSHD_PID)) {
        // The setting is the program's name.
        return if state.timeline.problems.iter().any(|problem| problem.setting == "sshd") {
            "SSH: down".to_owned()
        } else {
            let port = SettingsReader::new(env).port(&variables::SSH_PORT);
            match cloud::tcp_address(env, port) {
                Some((host, number)) => {
                    format!("SSH: on, ssh -p {number} root@{}", host.trim_matches(['[', ']']))
                }
                None => format!("SSH: on, port {port} inside the container"),
            }
        };
    }
    // The names that init uses in its problems.
    let needed = |setting: &str| ["SYS_CHROOT", "SETUID", "SETGID"].contains(&setting);
    let problems = &state.timeline.problems;
    if let Some(problem) = problems.iter().find(|problem| needed(&problem.setting)) {
        format!("SSH: off, the container does not have the capability {}", problem.setting)
    } else if problems.iter().any(|problem| is_of_keys(&problem.setting)) {
        "SSH: off, no usable public key was given".to_owned()
    } else {
        "SSH: off, no public key was given (SSH_PUBKEY)".to_owned()
    }
}

/// True if the pid file names a running sshd; the file survives a kill.
fn is_running(file: &Path) -> bool {
    let Ok(pid) = fs::read_to_string(file) else { return false };
    Process::new(pid.trim()).runs("sshd")
}

/// True for settings that provide SSH keys.
fn is_of_keys(setting: &str) -> bool {
    variables::ALL.iter().any(|variable| variable.kind == Kind::Keys && variable.name == setting)
        || setting.contains("/authorized_keys")
        || setting == "SSH keys"
}

/// True if the user has no shell on the host.
fn is_remote(env: &Env) -> bool {
    cloud::detect(env).is_remote()
}

fn problems(env: &Env, host: &str, state: &BootState) -> String {
    match state.timeline.problems.len() + state.timeline.failures().count() {
        0 => "problems: none".to_owned(),
        number if is_remote(env) => {
            format!("problems: {number}, shown in a terminal of the container by: {REPORT}")
        }
        number => format!("problems: {number}, shown by: docker exec {} {REPORT}", container(host)),
    }
}

/// Returns the container's name for the engine: its host name, unless that was set by the user.
fn container(host: &str) -> &str {
    let is_id = host.len() == 12 && host.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { host } else { "NAME" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_state::tests::state;
    use journal::{Event, Stage, StageResult};

    fn ended(stage: Stage, result: StageResult) -> Event {
        Event::StageEnded { stage, result, cause: None, hint: None }
    }

    #[test]
    fn a_stranger_learns_where_and_how_and_no_secret() {
        let env: Env = [
            ("WEB_USER", "ada"),
            ("WEB_PASSWORD", "geheim"),
            ("WEB_TOKEN", "geheim"),
            ("LEONARDO_AUTOSTART_SSHD", "true"),
            ("SSH_PORT", "2022"),
            ("WORKSPACE_SYNC", "true"),
        ]
        .into_iter()
        .collect();
        let mut events = vec![
            Event::Problem { setting: "WEB_X".into(), message: "is a typo".into() },
            Event::InitEnded { milliseconds: 0 },
            Event::BootStarted { pid: 7 },
            Event::StageStarted { stage: Stage::Sync },
            Event::StageStarted { stage: Stage::Provisioning },
            ended(Stage::Provisioning, StageResult::Failed),
            Event::StageStarted { stage: Stage::Ready },
            ended(Stage::Ready, StageResult::Done),
        ];
        let expected = [
            "ready, 6 s after the start; sync continues in the background",
            "portal: http://localhost:1111, where 1111 is the port inside the container; the one outside: docker port \
             0123456789ab 1111",
            "login: user ada, password by: docker exec 0123456789ab bash -lc 'env | grep WEB_'",
            "one-time login link: docker exec 0123456789ab /opt/leonardo/bin/portal-link",
            "SSH: on, port 2022 inside the container",
            "problems: 2, shown by: docker exec 0123456789ab /opt/leonardo/bin/boot report",
        ];
        assert_eq!(lines(&env, "0123456789ab", &state(&events, true)), expected);

        events.drain(..1);
        events.push(ended(Stage::Sync, StageResult::Done));
        events[4] = ended(Stage::Provisioning, StageResult::Done);
        let pod: Env = [("RUNPOD_POD_ID", "abc"), ("WEB_ENABLE_AUTH", "false")].into_iter().collect();
        let expected = [
            "ready, 6 s after the start",
            "portal: https://abc-1111.proxy.runpod.net",
            "login: disabled (WEB_ENABLE_AUTH=false)",
            "SSH: off, no public key was given (SSH_PUBKEY)",
            "problems: none",
        ];
        assert_eq!(lines(&pod, "gpu", &state(&events, true)), expected);
        assert!(lines(&env, "gpu", &state(&events, true))[1].ends_with("docker port NAME 1111"));
        events.push(Event::Problem { setting: "SYS_CHROOT".into(), message: "lacks".into() });
        let off = "SSH: off, the container does not have the capability SYS_CHROOT";
        assert_eq!(lines(&pod, "gpu", &state(&events, true))[3], off);
    }

    #[test]
    fn who_cannot_ask_docker_is_sent_to_a_terminal_of_the_container() {
        let login = [
            "login: user user, to see the password, run in the container: env | grep WEB_",
            "one-time login link: run in the container: /opt/leonardo/bin/portal-link",
        ];
        let unpublished = "port 1111 of the container; vast.ai does not publish port 1111: VAST_TCP_PORT_1111 is not set; \
                           publish the port in the template";
        let unknown = "port 1111 of the container; Kubernetes does not pass its address to a container; set DIRECT_ADDRESS";
        for (name, address) in [
            ("CONTAINER_ID", unpublished),
            ("KUBERNETES_SERVICE_HOST", unknown),
            ("RUNPOD_POD_ID", "https://7-1111.proxy.runpod.net"),
        ] {
            let problem = Event::Problem { setting: "WEB_X".into(), message: "is a typo".into() };
            let seen = lines(&[(name, "7")].into_iter().collect(), "0123456789ab", &state(&[problem], true));
            assert_eq!(
                seen[5],
                "problems: 1, shown in a terminal of the container by: /opt/leonardo/bin/boot report"
            );
            assert_eq!(seen[1..4], [&format!("portal: {address}"), login[0], login[1]], "{name}");
        }
    }

    #[test]
    fn a_number_in_a_file_is_sshds_only_while_sshd_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, sshd) = (dir.path().join("sshd.pid"), dir.path().join("sshd"));
        assert!(!is_running(&file));
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert!(!is_running(&file), "another program has the number");
        fs::copy("/bin/cat", &sshd).unwrap();
        let mut child =
            std::process::Command::new(&sshd).stdin(std::process::Stdio::piped()).spawn().unwrap();
        fs::write(&file, format!("{}\n", child.id())).unwrap();
        // The kernel lets the parent go on a moment before it names the child.
        let is_named = || is_running(&file).then_some(());
        kit::wait::until(std::time::Duration::from_secs(10), "the program's name", is_named).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!is_running(&file));
    }

    #[test]
    fn ssh_is_off_or_down_for_the_true_reason() {
        let ssh = |autostart: &str, setting: &str| {
            let problem = Event::Problem { setting: setting.into(), message: "is wrong".into() };
            let env = [("LEONARDO_AUTOSTART_SSHD", autostart)].into_iter().collect();
            ssh(&env, &state(&[problem], true))
        };
        for setting in
            ["SSH_PUBKEY", "PUBLIC_KEY", "SSH_PUBLIC_KEY", "/root/.ssh/authorized_keys_mount", "SSH keys"]
        {
            assert_eq!(ssh("false", setting), "SSH: off, no usable public key was given");
        }
        assert_eq!(ssh("false", "SSH_PORT"), "SSH: off, no public key was given (SSH_PUBKEY)");
        assert_eq!(ssh("true", "SSH_PUBKEY"), "SSH: on, port 22 inside the container");
        assert_eq!(ssh("true", "sshd"), "SSH: down");
        let mapped = |settings: &[(&str, &str)]| {
            let env = settings.iter().copied().chain([("LEONARDO_AUTOSTART_SSHD", "true")]).collect();
            super::ssh(&env, &state(&[], true))
        };
        let port = ("MAPPED_TCP_PORT_2022", "2222");
        assert_eq!(mapped(&[port, ("SSH_PORT", "2022")]), "SSH: on, ssh -p 2222 root@localhost");
        assert_eq!(mapped(&[port]), "SSH: on, port 22 inside the container");
        let address = ("DIRECT_ADDRESS", "2001:db8::7");
        assert_eq!(mapped(&[port, address, ("SSH_PORT", "2022")]), "SSH: on, ssh -p 2222 root@2001:db8::7");
    }
}
