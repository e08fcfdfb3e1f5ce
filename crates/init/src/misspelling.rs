//! Misspelled names of documented variables.

use kit::variables;
use kit::{Env, Problem};

/// Reports each variable whose name is one mistake away from a documented one: a letter added, missing or replaced, two
/// letters swapped, or a different case.
#[must_use]
pub fn problems(env: &Env) -> Vec<Problem> {
    let names = env.iter().filter_map(|(name, _)| name.to_str());
    let documented: Vec<String> = variables::ALL
        .iter()
        .map(|variable| variable.name.to_owned())
        .chain(variables::secret_files().map(|(_, file)| file))
        .collect();
    let meant = |name: &str| {
        let upper = name.to_ascii_uppercase();
        let is_known = documented.iter().any(|known| known == name);
        documented.iter().filter(|_| !is_known).find(|known| is_one_slip(&upper, known))
    };
    let mistakes = names.filter_map(|name| Some((name, meant(name)?)));
    mistakes
        .map(|(name, meant)| Problem::new(name, format!("unknown variable; did you mean {meant}?")))
        .collect()
}

/// True if at most one letter is added, left out or replaced, or two neighbours are exchanged.
fn is_one_slip(given: &str, meant: &str) -> bool {
    let (given, meant) = (given.as_bytes(), meant.as_bytes());
    let front = given.iter().zip(meant).take_while(|(one, other)| one == other).count();
    let (given, meant) = (&given[front..], &meant[front..]);
    let back = given.iter().rev().zip(meant.iter().rev()).take_while(|(one, other)| one == other).count();
    match (&given[..given.len() - back], &meant[..meant.len() - back]) {
        ([] | [_], [] | [_]) => true,
        ([a, b], [c, d]) => (a, b) == (d, c),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_reported_and_nothing_else() {
        for (name, meant) in [
            ("WEB_PASSWROD", "WEB_PASSWORD"),
            ("SSH_PUB_KEY", "SSH_PUBKEY"),
            ("SSH_PUBKEYS", "SSH_PUBKEY"),
            ("WORKSPACE_SNYC", "WORKSPACE_SYNC"),
            ("WEB_TOKN", "WEB_TOKEN"),
            ("web_password", "WEB_PASSWORD"),
            ("WEB-PASSWORD", "WEB_PASSWORD"),
            ("WEB_PASWORD_FILE", "WEB_PASSWORD_FILE"),
        ] {
            let env = [(name, "x")].into_iter().collect();
            let expected = Problem::new(name, format!("unknown variable; did you mean {meant}?"));
            assert_eq!(problems(&env), [expected]);
        }
        let others = [
            "WEB_PASSWORD",
            "SSH_PUBLIC_KEY",
            "PUBLIC_KEY",
            "SSH_HOST",
            "USER",
            "USER_ID",
            "WORKSPACE_UID",
            "IMAGE_TAG",
            "WORKSPACE_MOUNTED",
            "WEB_PASSWORD_B64",
            "HOST_SSH_PORT",
            "TUNNEL_TOKEN",
            "CUDA_VISIBLE_DEVICES",
            "RUNPOD_GPU_COUNT",
            "VAST_TCP_PORT_22",
            "PUBLIC_IPADDR",
            "WEB_PORT",
            "WORKSPACE_DIR",
            "GPU_COUNT",
            "",
        ];
        let env = others.iter().filter(|name| !name.is_empty()).map(|name| (*name, "x")).collect();
        assert_eq!(problems(&env), []);
    }
}
