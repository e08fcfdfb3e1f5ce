//! What must hold for the SSH server, whatever a configuration file says.

/// Options for sshd's command line, which come before every file.
pub fn options(port: u16) -> Vec<String> {
    [
        format!("Port={port}"),
        "PasswordAuthentication=no".into(),
        "KbdInteractiveAuthentication=no".into(),
        "PermitEmptyPasswords=no".into(),
        "PermitRootLogin=prohibit-password".into(),
        "PubkeyAuthentication=yes".into(),
        // The second file is written by root for the system user, whose home may be on a volume without modes.
        "AuthorizedKeysFile=.ssh/authorized_keys /etc/ssh/authorized_keys.d/%u".into(),
        "UsePAM=yes".into(),
        // Variables come from the store; letting clients set more would reach PATH and LD_PRELOAD.
        "PermitUserEnvironment=no".into(),
        "HostKey=/etc/ssh/ssh_host_ed25519_key".into(),
        "HostKey=/etc/ssh/ssh_host_ecdsa_key".into(),
        // A tunnel through a provider's router dies silently without these.
        "ClientAliveInterval=30".into(),
        "ClientAliveCountMax=6".into(),
        "PrintMotd=no".into(),
        "UseDNS=no".into(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

/// The first line of `sshd -T` that would let somebody in without a key.
pub fn violation(effective: &str) -> Option<&str> {
    const FORBIDDEN: [&str; 5] = [
        "passwordauthentication yes",
        "kbdinteractiveauthentication yes",
        "permitemptypasswords yes",
        "hostbasedauthentication yes",
        "permitrootlogin yes",
    ];
    effective.lines().find(|line| FORBIDDEN.contains(&line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_way_in_is_found_in_sshds_own_words() {
        assert_eq!(violation("port 22\npasswordauthentication no\npermitrootlogin without-password\n"), None);
        assert_eq!(violation("port 22\npasswordauthentication yes\n"), Some("passwordauthentication yes"));
    }

    #[test]
    fn every_option_is_its_own_argument() {
        let options = options(2222);
        assert_eq!(&options[..4], ["-o", "Port=2222", "-o", "PasswordAuthentication=no"]);
    }
}
