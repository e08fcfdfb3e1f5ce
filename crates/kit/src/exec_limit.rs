//! Limits of the kernel on the environment of a program (execve(2), "Limits on size of arguments and environment").
//!
//! One variable too many or too long prevents every program from starting: supervisord as well as `ls` in a shell. One
//! name prevents only `sh` and its scripts from starting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::sys::resource::{Resource, getrlimit};

use crate::units::format_count;
use crate::{Env, Problem};

/// Longest `NAME=VALUE` with its closing NUL, in bytes: the kernel's `MAX_ARG_STRLEN`, with its smallest page.
const MAX_VARIABLE_BYTES: usize = 131_072;
/// Maximum size of the environment in bytes if the stack is unlimited: three quarters of the kernel's `_STK_LIM`.
const MAX_TOTAL_BYTES: u64 = 6 << 20;
/// Size in bytes that the kernel always accepts (`ARG_MAX`).
const MIN_TOTAL_BYTES: u64 = 131_072;
/// Variable that keeps dash from starting unless it is a number.
pub const SH_RESERVED: &str = "OPTIND";

/// Returns why no program can be started with this variable, if so.
fn refusal(name: &OsStr, value: &OsStr) -> Option<String> {
    if [name, value].iter().any(|text| text.as_bytes().contains(&0)) {
        Some("it contains a NUL byte".to_owned())
    } else if name == SH_RESERVED {
        Some("sh reserves this name and may not start with it set".to_owned())
    } else if name.len() + value.len() + 2 > MAX_VARIABLE_BYTES {
        Some(format!("it exceeds the kernel's limit of {} bytes", format_count(MAX_VARIABLE_BYTES as u64)))
    } else {
        None
    }
}

/// Removes the variables that the kernel or `sh` would refuse: first those that are too long, then the longest ones
/// until the rest fits.
pub fn drop_oversized(env: &mut Env) -> Vec<Problem> {
    let stack = getrlimit(Resource::RLIMIT_STACK).map_or(MAX_TOTAL_BYTES, |(soft, _)| soft / 4);
    let most = stack.clamp(MIN_TOTAL_BYTES, MAX_TOTAL_BYTES);
    // Leaves space for arguments and for variables that programs add.
    fit_into(env, usize::try_from(most - most / 8).unwrap_or(usize::MAX))
}

fn fit_into(env: &mut Env, most: usize) -> Vec<Problem> {
    let mut removed = Vec::new();
    let mut sizes = Vec::new();
    for (name, value) in env.iter() {
        match refusal(name, value) {
            Some(refusal) => removed.push((name.to_owned(), refusal)),
            // With `=`, the closing NUL, and the pointer to it.
            None => sizes.push((name.len() + value.len() + 2 + size_of::<usize>(), name.to_owned())),
        }
    }
    sizes.sort();
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    while total > most
        && let Some((size, name)) = sizes.pop()
    {
        total -= size;
        let refusal = format!(
            "the environment exceeds the kernel's limit of {} bytes; this is the longest variable",
            format_count(most as u64)
        );
        removed.push((name, refusal));
    }
    let problem = |(name, refusal): (std::ffi::OsString, String)| {
        env.unset(&name);
        Problem::new(name.to_string_lossy(), format!("{refusal}; not passed to programs"))
    };
    removed.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Starts a program with these variables alone.
    fn starts(env: &Env) -> bool {
        Command::new("/bin/true").env_clear().envs(env.iter()).status().is_ok_and(|status| status.success())
    }

    #[test]
    fn what_the_kernel_refuses_is_named_and_the_rest_stays() {
        let longest = MAX_VARIABLE_BYTES - "A=".len() - 1;
        for (name, size, refused) in [("A", longest, false), ("A", longest + 1, true), ("AB", longest, true)]
        {
            let mut env: Env = [(name, "x".repeat(size)), ("B", "b".to_owned())].into_iter().collect();
            assert_eq!(starts(&env), !refused, "the kernel's limit for {name} with {size}");
            let problems = drop_oversized(&mut env);
            assert_eq!((problems.len(), env.get(name).is_none()), (usize::from(refused), refused));
            assert!(starts(&env) && env.get("B").is_some());
        }
        let mut env: Env = [("A", "a\0b")].into_iter().collect();
        assert!(!starts(&env));
        let problem = "A: it contains a NUL byte; not passed to programs";
        assert_eq!(drop_oversized(&mut env).iter().map(ToString::to_string).collect::<Vec<_>>(), [problem]);
        assert_eq!(env, Env::default());
    }

    #[test]
    fn what_keeps_sh_from_starting_goes() {
        let mut env: Env = [(SH_RESERVED, "x")].into_iter().collect();
        let starts = |env: &Env| {
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", "true"]).env_clear().envs(env.iter()).status().is_ok_and(|status| status.success())
        };
        assert!(!starts(&env), "this machine's sh is dash, as in the image");
        let problem = "OPTIND: sh reserves this name and may not start with it set; not passed to programs";
        assert_eq!(drop_oversized(&mut env).iter().map(ToString::to_string).collect::<Vec<_>>(), [problem]);
        assert!(starts(&env));
    }

    #[test]
    fn of_too_many_the_longest_go_until_a_program_starts() {
        let mut env: Env = (0..80).map(|number| (format!("LONG{number}"), "x".repeat(120_000))).collect();
        env.set("WORKSPACE", "/workspace");
        assert!(!starts(&env));
        let problems = drop_oversized(&mut env);
        assert!(starts(&env), "{}", problems.len());
        assert_eq!(env.get("WORKSPACE"), Some(OsStr::new("/workspace")));
        assert!(problems.iter().all(|problem| problem.setting.starts_with("LONG")), "{problems:?}");
    }

    #[test]
    fn no_more_goes_than_has_to() {
        let all = || -> Env { [("A", "1"), ("B", "22"), ("C", "333")].into_iter().collect() };
        let size = 3 * (1 + 2 + size_of::<usize>()) + 6;
        for (most, left) in [(size, "ABC"), (size - 1, "AB"), (size - 20, "A"), (0, "")] {
            let mut env = all();
            let problems = fit_into(&mut env, most);
            let names: String = env.iter().map(|(name, _)| name.to_string_lossy()).collect();
            assert_eq!((names.as_str(), problems.len()), (left, 3 - left.len()));
        }
    }
}
