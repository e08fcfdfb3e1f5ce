//! Rights of a program that faces the network: those of its account, and none of root's.

use std::ffi::CString;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{User, geteuid, getresgid, getresuid, initgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::HintExt;

/// Makes this process `account` for good: its groups, no capability in any set, no new privileges by an exec.
///
/// Before any thread is started, because capabilities belong to threads. An error means that the process must end: it may
/// still be root. A process that is not root keeps its account and gives up the rest. Where `SETPCAP` is missing, the
/// bounding set stays, and is of no use: without new privileges, an exec takes nothing from it.
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
    // The ambient set loses what the permitted one loses.
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
    // Also those that this library has no name for; the kernel has none behind the first that it does not know.
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
