//! All options of the SSH server.

/// Path of the program that prints the keys: a copy of this one outside `/opt`. sshd refuses a program that users other
/// than root can change, also through a directory above it, and `/opt` is shared with a group.
pub const KEYS_COMMAND: &str = "/usr/lib/leonardo/sshd-run";

/// All of sshd's options, for its command line; it reads no file.
///
/// With files, a `Match` block in any of them wins over the command line, and neither `sshd -T` nor a look at the main
/// file shows it (hazard H18).
///
/// Without the capability `AUDIT_WRITE`, as podman starts containers, sshd ends every session with a terminal, because it
/// cannot report it to the kernel's audit (`linux_audit_write_entry failed`). Without a terminal there is nothing to report.
pub fn options(port: u16, terminals: bool) -> Vec<String> {
    let port = format!("Port={port}");
    let command = format!("AuthorizedKeysCommand={KEYS_COMMAND} --keys %u");
    let terminals = format!("PermitTTY={}", if terminals { "yes" } else { "no" });
    let options = [
        port.as_str(),
        terminals.as_str(),
        "AuthenticationMethods=publickey",
        "PubkeyAuthentication=yes",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "HostbasedAuthentication=no",
        "PermitEmptyPasswords=no",
        "PermitRootLogin=prohibit-password",
        // No file in a home: the user's home is on the volume, where others may write. As root, because root owns the
        // files.
        "AuthorizedKeysFile=none",
        &command,
        "AuthorizedKeysCommandUser=root",
        "HostKey=/etc/ssh/ssh_host_ed25519_key",
        "HostKey=/etc/ssh/ssh_host_ecdsa_key",
        "UsePAM=yes",
        // Variables come from the store; clients could otherwise set PATH and LD_PRELOAD.
        "PermitUserEnvironment=no",
        "AcceptEnv=LANG LC_*",
        "Subsystem=sftp internal-sftp",
        "X11Forwarding=yes",
        // Routers drop idle connections silently without these.
        "ClientAliveInterval=30",
        "ClientAliveCountMax=6",
        // PAM prints it.
        "PrintMotd=no",
        "UseDNS=no",
    ];
    ["-f", "none"]
        .into_iter()
        .chain(options.into_iter().flat_map(|option| ["-o", option]))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sshd_asks_a_program_outside_of_what_people_share() {
        assert!(
            options(22, true).contains(&"AuthorizedKeysCommand=/usr/lib/leonardo/sshd-run --keys %u".into())
        );
    }

    #[test]
    fn no_file_is_read_and_every_option_is_its_own_argument() {
        assert_eq!(
            &options(2222, true)[..8],
            ["-f", "none", "-o", "Port=2222", "-o", "PermitTTY=yes", "-o", "AuthenticationMethods=publickey"]
        );
        assert_eq!(&options(22, false)[5..6], ["PermitTTY=no"]);
    }
}
