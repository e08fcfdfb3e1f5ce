//! Drops the rights of a program that faces the network to those of its account.

use std::ffi::CString;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{User, geteuid, getresgid, getresuid, initgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::HintExt;

/// Switches this process to `account` permanently: its groups, no capability in any set, no new privileges after an
/// exec.
///
/// Must run before any thread is started, because capabilities belong to threads. After an error the process must exit.
pub fn drop_to(account: &str) -> Result<()> {
    let is_root = geteuid().is_root();
    let user = if is_root { Some(find(account)?) } else { None };
    if !clear_bounding_set()? && is_root {
        log::info!("capabilities stay in the bounding set, because the container has no SETPCAP");
    }
    if let Some(user) = &user {
        switch(user)
            .with_context(|| format!("cannot become the account {account}"))
            .hint(|| "start the container with --cap-add SETUID --cap-add SETGID".to_owned())?;
    }
    // The kernel removes from the ambient set what the permitted set loses.
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).context("cannot give up the capabilities")?;
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    ensure!(capabilities(None)? == none, "not all capabilities were dropped");
    Ok(())
}

fn find(account: &str) -> Result<User> {
    let user = User::from_name(account).with_context(|| format!("cannot look up the account {account}"))?;
    match user {
        Some(user) if user.uid.is_root() => bail!("the account {account} is root"),
        Some(user) => Ok(user),
        None => bail!("there is no account {account}"),
    }
}

fn switch(user: &User) -> Result<()> {
    initgroups(&CString::new(user.name.as_str())?, user.gid)?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)?;
    let (uids, gids) = (getresuid()?, getresgid()?);
    let is_user = [uids.real, uids.effective, uids.saved] == [user.uid; 3];
    ensure!(
        is_user && [gids.real, gids.effective, gids.saved] == [user.gid; 3],
        "the user or group was not changed"
    );
    Ok(())
}

/// Empties the bounding set; false if that needs `SETPCAP`.
fn clear_bounding_set() -> Result<bool> {
    let mut is_empty = true;
    // Includes capabilities unknown to this library; the kernel has none after the first one that it rejects.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error).context("cannot read the bounding set of capabilities"),
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => is_empty = false,
            Err(error) => return Err(error).context("cannot empty the bounding set of capabilities"),
        }
    }
    Ok(is_empty)
}
