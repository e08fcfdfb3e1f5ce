//! Rights of other accounts: for one action, or for good in a program that faces the network.

use std::ffi::CString;
use std::io;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl;
use nix::unistd::{
    Gid, Uid, User, getegid, geteuid, getresgid, getresuid, initgroups, setfsgid, setfsuid, setresgid,
    setresuid,
};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::HintExt;

/// Runs `act` with another user's and group's rights to files, in a thread of its own, if this process is root.
///
/// The thread keeps root's other capabilities, which decide about the processes that can be seen.
pub fn with_file_ids<T: Send>(uid: u32, gid: u32, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    let (user, group) = (geteuid(), getegid());
    if !user.is_root() || (uid, gid) == (user.as_raw(), group.as_raw()) {
        return Ok(act());
    }
    thread::scope(|scope| {
        let acting = thread::Builder::new().spawn_scoped(scope, || {
            // The group first: the user's change takes capabilities. Both are the thread's own, and end with it.
            setfsgid(Gid::from_raw(gid));
            setfsuid(Uid::from_raw(uid));
            // The kernel takes it from the whole process with the change (prctl(2), PR_SET_DUMPABLE), and so hides from
            // root what this process has open: workspace-sync would have to take it for a writer of every tree.
            if let Err(error) = prctl::set_dumpable(true) {
                log::debug!("cannot show open files to root: {error}");
            }
            act()
        })?;
        acting.join().map_err(|_| io::Error::other("a thread of another user panicked"))
    })
}

/// Runs `act` as another account, with all its credentials, in a thread of its own; an error means that this process cannot
/// become the account. access(2) asks for the real user, which [`with_file_ids`] does not change.
pub fn as_account<T: Send>(
    uid: u32,
    gid: u32,
    groups: &[u32],
    act: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
    let groups: Vec<_> = groups.iter().copied().map(rustix::process::Gid::from_raw).collect();
    thread::scope(|scope| {
        let acting = thread::Builder::new().spawn_scoped(scope, || {
            // By system call: the C library's wrapper changes all threads.
            set_thread_groups(&groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            Ok(act())
        })?;
        acting.join().map_err(|_| io::Error::other("a thread of another account panicked"))?
    })
}

/// Switches this process to `account` permanently: its groups, no capability in any set, no new privileges after an
/// exec.
///
/// Must run before any thread is started, because capabilities belong to threads. After an error the process must exit.
pub fn drop_to(account: &str) -> Result<()> {
    let is_root = geteuid().is_root();
    let user = if is_root { Some(find(account)?) } else { None };
    if !clear_bounding_set()? && is_root {
        log::info!("cannot clear the capability bounding set: the container lacks SETPCAP");
    }
    if let Some(user) = &user {
        switch(user)
            .with_context(|| format!("cannot switch to user {account}"))
            .hint(|| "start the container with --cap-add SETUID --cap-add SETGID".to_owned())?;
    }
    // The kernel removes from the ambient set what the permitted set loses.
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).context("cannot drop capabilities")?;
    set_no_new_privs(true).context("cannot set no_new_privs")?;
    ensure!(capabilities(None)? == none, "not all capabilities were dropped");
    Ok(())
}

fn find(account: &str) -> Result<User> {
    let user = User::from_name(account).with_context(|| format!("cannot look up the account {account}"))?;
    match user {
        Some(user) if user.uid.is_root() => bail!("the account {account} is root"),
        Some(user) => Ok(user),
        None => bail!("user {account} does not exist"),
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
            Err(error) => return Err(error).context("cannot read the capability bounding set"),
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => is_empty = false,
            Err(error) => return Err(error).context("cannot clear the capability bounding set"),
        }
    }
    Ok(is_empty)
}
