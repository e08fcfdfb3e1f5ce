//! Tests of a container that was really built and booted. `cargo xtask e2e` runs them.

#[path = "e2e/accessibility.rs"]
mod accessibility;
#[path = "e2e/accounts.rs"]
mod accounts;
#[path = "e2e/addresses.rs"]
mod addresses;
#[path = "e2e/balanced_services.rs"]
mod balanced_services;
#[path = "e2e/boot.rs"]
mod boot;
#[path = "e2e/comfyui.rs"]
mod comfyui;
#[path = "e2e/compose.rs"]
mod compose;
#[path = "e2e/cookies.rs"]
mod cookies;
#[path = "e2e/cross_origin.rs"]
mod cross_origin;
#[path = "e2e/environment.rs"]
mod environment;
#[path = "e2e/files_and_ports.rs"]
mod files_and_ports;
#[path = "e2e/first_seconds.rs"]
mod first_seconds;
#[path = "e2e/full_disk.rs"]
mod full_disk;
#[path = "e2e/gate.rs"]
mod gate;
#[path = "e2e/hostile_services.rs"]
mod hostile_services;
#[path = "e2e/https.rs"]
mod https;
#[path = "e2e/identity.rs"]
mod identity;
#[path = "e2e/image.rs"]
mod image;
#[path = "e2e/image_authors.rs"]
mod image_authors;
#[path = "e2e/init_in_running_container.rs"]
mod init_in_running_container;
#[path = "e2e/jupyter.rs"]
mod jupyter;
#[path = "e2e/late_boot.rs"]
mod late_boot;
#[path = "e2e/late_start.rs"]
mod late_start;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "e2e/links_and_sessions.rs"]
mod links_and_sessions;
#[path = "e2e/log_page.rs"]
mod log_page;
#[path = "e2e/logs.rs"]
mod logs;
#[path = "e2e/missing_capabilities.rs"]
mod missing_capabilities;
#[path = "e2e/page_weights.rs"]
mod page_weights;
#[path = "e2e/portal.rs"]
mod portal;
#[path = "e2e/portal_flows.rs"]
mod portal_flows;
#[path = "e2e/printed_commands.rs"]
mod printed_commands;
#[path = "e2e/processes.rs"]
mod processes;
#[path = "e2e/provisioning.rs"]
mod provisioning;
#[path = "e2e/proxy.rs"]
mod proxy;
#[path = "e2e/rclone.rs"]
mod rclone;
#[path = "e2e/readme_example.rs"]
mod readme_example;
#[path = "e2e/selftest.rs"]
mod selftest;
#[path = "e2e/service_limits.rs"]
mod service_limits;
#[path = "e2e/service_run.rs"]
mod service_run;
#[path = "e2e/setting_values.rs"]
mod setting_values;
#[path = "e2e/settings.rs"]
mod settings;
#[path = "e2e/shells.rs"]
mod shells;
#[path = "e2e/ssh.rs"]
mod ssh;
#[path = "e2e/storage.rs"]
mod storage;
#[path = "e2e/supervision.rs"]
mod supervision;
#[path = "e2e/sync.rs"]
mod sync;
#[path = "e2e/sync_after_provisioning.rs"]
mod sync_after_provisioning;
#[path = "e2e/sync_in_background.rs"]
mod sync_in_background;
#[path = "e2e/tunnels.rs"]
mod tunnels;
#[path = "e2e/unusable_files.rs"]
mod unusable_files;
#[path = "e2e/web_credentials.rs"]
mod web_credentials;
#[path = "e2e/workspace.rs"]
mod workspace;
#[path = "e2e/workspace_owner.rs"]
mod workspace_owner;
