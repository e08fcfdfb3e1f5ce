//! Tests of a container that was really built and booted. `cargo xtask e2e` runs them.

#[path = "e2e/access.rs"]
mod access;
#[path = "e2e/accounts.rs"]
mod accounts;
#[path = "e2e/boot.rs"]
mod boot;
#[path = "e2e/cookies.rs"]
mod cookies;
#[path = "e2e/credentials.rs"]
mod credentials;
#[path = "e2e/environment.rs"]
mod environment;
#[path = "e2e/first_seconds.rs"]
mod first_seconds;
#[path = "e2e/foreign.rs"]
mod foreign;
#[path = "e2e/full_disk.rs"]
mod full_disk;
#[path = "e2e/gate.rs"]
mod gate;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/https.rs"]
mod https;
#[path = "e2e/identity.rs"]
mod identity;
#[path = "e2e/image.rs"]
mod image;
#[path = "e2e/inputs.rs"]
mod inputs;
#[path = "e2e/late_boot.rs"]
mod late_boot;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "e2e/limits.rs"]
mod limits;
#[path = "e2e/logs.rs"]
mod logs;
#[path = "e2e/owners.rs"]
mod owners;
#[path = "e2e/parallel_sync.rs"]
mod parallel_sync;
#[path = "e2e/portal.rs"]
mod portal;
#[path = "e2e/provisioned_sync.rs"]
mod provisioned_sync;
#[path = "e2e/provisioning.rs"]
mod provisioning;
#[path = "e2e/proxy.rs"]
mod proxy;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/running.rs"]
mod running;
#[path = "e2e/settings.rs"]
mod settings;
#[path = "e2e/ssh.rs"]
mod ssh;
#[path = "e2e/storage.rs"]
mod storage;
#[path = "e2e/supervision.rs"]
mod supervision;
#[path = "e2e/sync.rs"]
mod sync;
#[path = "e2e/values.rs"]
mod values;
#[path = "e2e/workspace.rs"]
mod workspace;
