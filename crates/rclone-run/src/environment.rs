//! Environment of rclone: the container's variables, the stored ones, and our defaults for those that are unset.

use std::path::{Path, PathBuf};

use kit::Env;
use workspace::Workspace;

const CACHE: &str = "RCLONE_CACHE_DIR";
const CONFIGURATION: &str = "RCLONE_CONFIG";

/// Returns the environment. Every option is a variable of rclone (`rclone help flags`), so that a user can set it.
pub fn environment(own: Env, store: &Path, workspace: &Workspace) -> Env {
    let mut env = env_store::session_env(own, store);
    let (uid, gid) = (workspace.uid.to_string(), workspace.gid.to_string());
    let defaults = [
        (CONFIGURATION, "/etc/rclone/rclone.conf"),
        (CACHE, "/var/lib/leonardo/rclone"),
        // Without a cache, a program can neither append to a file nor change a part of it.
        ("RCLONE_VFS_CACHE_MODE", "writes"),
        ("RCLONE_VFS_CACHE_MAX_SIZE", "10G"),
        ("RCLONE_VFS_WRITE_BACK", "1s"),
        // A server that is down costs a program minutes with rclone's own values.
        ("RCLONE_CONTIMEOUT", "10s"),
        ("RCLONE_TIMEOUT", "30s"),
        ("RCLONE_LOW_LEVEL_RETRIES", "3"),
        ("RCLONE_ALLOW_OTHER", "true"),
        // The kernel checks the modes; otherwise every account could write.
        ("RCLONE_DEFAULT_PERMISSIONS", "true"),
        ("RCLONE_UID", &uid),
        ("RCLONE_GID", &gid),
        ("RCLONE_UMASK", "002"),
    ];
    for (name, value) in defaults {
        if env.text(name).is_none() {
            env.set(name, value);
        }
    }
    env
}

/// Path of rclone's configuration file.
pub fn configuration(env: &Env) -> PathBuf {
    env.get(CONFIGURATION).unwrap_or_default().into()
}

/// Path of rclone's cache.
pub fn cache(env: &Env) -> PathBuf {
    env.get(CACHE).unwrap_or_default().into()
}

/// True if a variable defines a remote, such as `RCLONE_CONFIG_MYREMOTE_TYPE`.
pub fn defines_remote(env: &Env) -> bool {
    env.iter().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.strip_prefix("RCLONE_CONFIG_").is_some_and(|rest| rest.ends_with("_TYPE"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_sets_wins_and_the_rest_has_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("environment.sh");
        std::fs::write(&store, "export RCLONE_TIMEOUT='1m'\nexport RCLONE_UMASK='077'\n").unwrap();
        let given: Env =
            [("RCLONE_TIMEOUT", "5s"), ("RCLONE_CONFIG", ""), ("RCLONE_UID", "7")].into_iter().collect();
        let workspace = Workspace {
            path: "/w".into(),
            uid: 1000,
            gid: 1001,
            mounted: false,
            slug: workspace::DEFAULT_SLUG.to_owned(),
        };
        let env = environment(given, &store, &workspace);
        let pairs: Vec<_> =
            env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect();
        assert_eq!(
            pairs,
            [
                "RCLONE_ALLOW_OTHER=true",
                "RCLONE_CACHE_DIR=/var/lib/leonardo/rclone",
                "RCLONE_CONFIG=/etc/rclone/rclone.conf",
                "RCLONE_CONTIMEOUT=10s",
                "RCLONE_DEFAULT_PERMISSIONS=true",
                "RCLONE_GID=1001",
                "RCLONE_LOW_LEVEL_RETRIES=3",
                "RCLONE_TIMEOUT=5s",
                "RCLONE_UID=7",
                "RCLONE_UMASK=077",
                "RCLONE_VFS_CACHE_MAX_SIZE=10G",
                "RCLONE_VFS_CACHE_MODE=writes",
                "RCLONE_VFS_WRITE_BACK=1s",
            ]
        );
        assert_eq!(configuration(&env), Path::new("/etc/rclone/rclone.conf"));
        assert_eq!(cache(&env), Path::new("/var/lib/leonardo/rclone"));
    }

    #[test]
    fn a_remote_needs_a_type() {
        let defines = |name: &str| defines_remote(&[(name, "x")].into_iter().collect());
        assert!(defines("RCLONE_CONFIG_MY_REMOTE_TYPE"));
        assert!(!defines("RCLONE_CONFIG") && !defines("RCLONE_CONFIG_PASS") && !defines("RCLONE_TYPE"));
    }
}
