//! The workspace to correct, from the variables that `init` sets.

use std::path::PathBuf;

use anyhow::{Result, bail};
use kit::{Env, HintExt, SettingsReader};

/// The workspace to correct, if there is one.
#[derive(Debug, PartialEq, Eq)]
pub enum TargetWorkspace {
    /// A mounted volume.
    Mounted {
        /// Path of the workspace.
        path: PathBuf,
        /// User who gets access to its files.
        uid: u32,
    },
    /// None, with the reason.
    None(String),
}

/// Reads the variables; fails if the owner is not a user id, or root.
pub fn from_env(env: &Env) -> Result<TargetWorkspace> {
    let Some(path) = env.get("WORKSPACE").filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(TargetWorkspace::None("WORKSPACE is not set".to_owned()));
    };
    let mut reader = SettingsReader::new(env);
    let mounted = reader.flag("WORKSPACE_MOUNTED", false);
    reader.into_problems().iter().for_each(|problem| log::warn!("{problem}"));
    if !mounted {
        return Ok(TargetWorkspace::None(format!("{} is not a mounted volume", path.display())));
    }
    let uid = env.text("WORKSPACE_UID").unwrap_or_default();
    match uid.parse() {
        // The highest number means "no user" to the kernel, and root needs no permission.
        Ok(uid) if uid != 0 && uid != u32::MAX => Ok(TargetWorkspace::Mounted { path, uid }),
        _ => invalid_owner(uid),
    }
}

fn invalid_owner(uid: &str) -> Result<TargetWorkspace> {
    let refused = || -> Result<TargetWorkspace> {
        bail!("WORKSPACE_UID: {uid:?} is not the number of a user other than root")
    };
    refused().hint(|| "init sets it: run this inside a container made from the base image".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)]) -> Result<TargetWorkspace> {
        from_env(&pairs.iter().copied().collect())
    }

    #[test]
    fn only_a_mounted_volume_with_an_owner_is_corrected() {
        let path = ("WORKSPACE", "/workspace/");
        let mounted = ("WORKSPACE_MOUNTED", "true");
        let none = |reason: &str| TargetWorkspace::None(reason.to_owned());
        assert_eq!(found(&[mounted]).unwrap(), none("WORKSPACE is not set"));
        assert_eq!(found(&[path]).unwrap(), none("/workspace/ is not a mounted volume"));
        assert_eq!(
            found(&[path, ("WORKSPACE_MOUNTED", "ture")]).unwrap(),
            none("/workspace/ is not a mounted volume")
        );
        assert_eq!(
            found(&[path, mounted, ("WORKSPACE_UID", "1000")]).unwrap(),
            TargetWorkspace::Mounted { path: "/workspace/".into(), uid: 1000 }
        );
        for wrong in ["", "0", "-1", "4294967295", "user"] {
            let error = found(&[path, mounted, ("WORKSPACE_UID", wrong)]).unwrap_err();
            let expected = format!("WORKSPACE_UID: {wrong:?} is not the number of a user other than root");
            assert_eq!(error.to_string(), expected);
        }
    }
}
