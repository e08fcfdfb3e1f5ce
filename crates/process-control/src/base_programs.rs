//! Programs of the base image: purposes, and those that the portal cannot do without.

use crate::process_info::ProcessInfo;

/// Facts about a program of the base image.
#[derive(Debug)]
pub struct BaseProgram {
    /// Its name.
    pub name: &'static str,
    /// Purpose.
    pub description: &'static str,
    /// Consequence of a stop or restart that the user should confirm.
    pub caution: Option<&'static str>,
    /// Reason why it cannot be stopped.
    pub protection: Option<&'static str>,
    /// False if it cannot be restarted either.
    pub can_restart: bool,
}

const fn program(name: &'static str, description: &'static str) -> BaseProgram {
    BaseProgram { name, description, caution: None, protection: None, can_restart: true }
}

/// All programs of the base image.
pub const BASE_PROGRAMS: [BaseProgram; 12] = [
    program("boot", "Late boot: provisioning and other stages; starting it runs them again"),
    BaseProgram {
        caution: Some("All pages and services are unreachable for about a second."),
        protection: Some("without it, no page and no service can be reached"),
        ..program("caddy", "Web server in front of the portal and all services")
    },
    BaseProgram {
        caution: Some(
            "The Cloudflare tunnel is closed until it runs again. If you opened this page through it, a stop ends \
             the connection for good: open the portal at another address, or use SSH.",
        ),
        ..program("cloudflared", "Cloudflare tunnel of CF_TUNNEL_TOKEN")
    },
    BaseProgram {
        protection: Some("without it, logs are not collected"),
        ..program("logtail", "Collects all logs")
    },
    BaseProgram {
        protection: Some("it carries out what is asked for here"),
        can_restart: false,
        ..program("processcontrol", "Starts and stops programs for the portal")
    },
    BaseProgram {
        caution: Some(
            "Quick tunnels get new addresses. If you opened this page through one, the connection ends for good: \
             open the portal at another address, or use SSH.",
        ),
        ..program("quicktunnel", "Quick Cloudflare tunnels to the portal and the services")
    },
    BaseProgram {
        caution: Some("Remotes are unmounted; programs that use files on them fail."),
        ..program("rclone", "Mounts the remotes of rclone")
    },
    BaseProgram {
        caution: Some("This portal is away for about a second; the page comes back by itself."),
        protection: Some("without it, no one can log in"),
        ..program("serviceportal", "Login, gate and these pages")
    },
    BaseProgram {
        caution: Some("New SSH logins fail until it runs again; open sessions stay."),
        ..program("sshd", "SSH server")
    },
    program("storagemonitor", "Links files of the storage into applications"),
    program("wanaddress", "Finds the public address once"),
    program("workspacesync", "Copies late changes of synced trees; boot starts it when needed"),
];

/// Returns the facts about a process of the base image, which `programs=` may have moved to a group. While there is one by
/// itself, a process of the same name within a group is a user's own.
pub fn find(process: &ProcessInfo, all: &[ProcessInfo]) -> Option<&'static BaseProgram> {
    let base = BASE_PROGRAMS.iter().find(|program| program.name == process.name)?;
    let is_original = |other: &ProcessInfo| other.full_name() == base.name;
    (is_original(process) || !all.iter().any(is_original)).then_some(base)
}

/// True if the base image has a program of this name.
#[must_use]
pub fn is_base_program(name: &str) -> bool {
    BASE_PROGRAMS.iter().any(|program| program.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_program_of_the_base_image_has_a_purpose() {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base/rootfs/etc/supervisor/base.d");
        let of_image: BTreeSet<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let described = BASE_PROGRAMS.iter().map(|program| program.name.to_owned()).collect();
        assert_eq!(of_image, described);
    }
}
