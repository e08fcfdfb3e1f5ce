//! The container's variables for a late start: the session of a provider's hook often lacks them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use env_store::{Refusal, check_storable};
use kit::process::Process;
use kit::{Env, Problem, variables};

use crate::environment_store::Loaded;
use crate::foreign_sshd::is_of_this_container;
use crate::running_supervisord;

/// Environment of the first process, which only root can read.
const FIRST: &str = "/proc/1/environ";
/// Reason for not using the first process where containers share their processes.
pub const FOREIGN: &str = "process 1 is of another container";
/// Variables of a login, of sudo, and of an activated environment.
const SESSION_PREFIXES: [&str; 4] = ["CONDA_", "DBUS_", "SUDO_", "XDG_"];
const SESSION_VARIABLES: [&str; 5] = ["DISPLAY", "LS_COLORS", "MOTD_SHOWN", "SSH_AUTH_SOCK", "VIRTUAL_ENV"];

/// Returns the variables of the container's first process with those of this process over them, without those that shells
/// read from the store of another container.
pub fn complete(mut own: Env, loaded: &Loaded, problems: &mut Vec<Problem>) -> Env {
    let first = read_first().unwrap_or_else(|error| {
        let message = format!("cannot read {FIRST}: {error}; using the variables of this session");
        problems.push(Problem::new("environment", message));
        Vec::new()
    });
    let mut first = running_supervisord::variables(&first);
    Loaded::of(&first).remove_foreign_secrets(&mut first);
    loaded.remove_foreign(&mut own);
    merge(&first, &own)
}

fn read_first() -> io::Result<Vec<u8>> {
    let bytes = fs::read(FIRST)?;
    if is_of_this_container(&Process::new(1)) { Ok(bytes) } else { Err(io::Error::other(FOREIGN)) }
}

/// A variable of a session is only taken from the first process, `PATH` preferably.
fn merge(first: &Env, own: &Env) -> Env {
    // A server can replace its environment in memory by its title, as sshd does.
    let is_name = |name: &OsStr| !name.is_empty() && name.as_bytes().iter().all(u8::is_ascii_graphic);
    let mut merged: Env = first.iter().filter(|(name, _)| is_name(name)).collect();
    for (name, value) in own.iter() {
        let is_taken = name == "PATH" && merged.get(name).is_some();
        if !is_taken && !is_of_a_session(&name.to_string_lossy()) {
            merged.set(name, value);
        }
    }
    if merged.get("HOME").is_none() {
        merged.set("HOME", "/root");
    }
    merged
}

fn is_of_a_session(name: &str) -> bool {
    check_storable(name) == Err(Refusal::OfASession)
        || SESSION_VARIABLES.contains(&name)
        || SESSION_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the documented variables and the parameters. Others may differ in each run of a hook.
pub fn settings(env: &Env, parameters: &[(OsString, OsString)]) -> Env {
    let is_documented = |name: &OsStr| variables::ALL.iter().any(|variable| name == variable.name);
    let is_parameter = |name: &OsStr| parameters.iter().any(|(parameter, _)| parameter == name);
    env.iter().filter(|(name, _)| is_documented(name) || is_parameter(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_hooks_variables_come_over_those_of_the_container_and_its_session_stays_outside() {
        let first = [
            ("HOME", "/"),
            ("PATH", "/usr/local/cuda/bin:/usr/bin"),
            ("A.B", "1"),
            ("WEB_USER", "ada"),
            ("HOSTNAME", "x"),
        ];
        let own = [
            ("HOME", "/home/ada"),
            ("PATH", "/bin"),
            ("PWD", "/tmp"),
            ("SUDO_USER", "ada"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
            ("SSH_CONNECTION", "1"),
            ("SSH_AUTH_SOCK", "/tmp/x"),
            ("CONDA_PREFIX", "/opt/x"),
            ("WEB_USER", "eve"),
            ("SSH_PUBKEY", "k"),
            ("HF_TOKEN", "t"),
        ];
        let mut expected = env(&first);
        [("WEB_USER", "eve"), ("SSH_PUBKEY", "k"), ("HF_TOKEN", "t")]
            .into_iter()
            .for_each(|(name, value)| expected.set(name, value));
        assert_eq!(merge(&env(&first), &env(&own)), expected);
    }

    #[test]
    fn a_title_in_place_of_the_environment_is_no_variable() {
        let title =
            running_supervisord::variables(b"sshd: /usr/sbin/sshd -o Port=22 [listener]\0\0=x\0B=1\0");
        let merged = merge(&title, &env(&[("PATH", "/bin")]));
        assert_eq!(merged, env(&[("B", "1"), ("HOME", "/root"), ("PATH", "/bin")]));
    }

    #[test]
    fn a_second_run_compares_settings_and_parameters_only() {
        let given = env(&[("WEB_USER", "ada"), ("TASK_ID", "7"), ("EXTRA", "1")]);
        let parameters = [("EXTRA".into(), "1".into())];
        assert_eq!(settings(&given, &parameters), env(&[("WEB_USER", "ada"), ("EXTRA", "1")]));
    }
}
