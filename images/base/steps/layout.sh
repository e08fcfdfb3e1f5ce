#!/bin/sh
# layout.sh: creates the accounts and directories that the tools expect.
set -eu

groupadd --gid 1111 leonardo
# The web-facing programs have accounts without a home, shell or password, and in no group that can read secrets, control
# supervisord, or write where root runs programs.
# No distribution assigns their ids, so a volume's owner does not have them (crates/init/src/id_conflict.rs). --no-log-init:
# lastlog and faillog have a place for each id, which is 20 MB in a layer.
number=61111
for account in portal caddy cloudflared; do
    groupadd --gid "$number" "$account"
    useradd --system --no-log-init --uid "$number" --gid "$number" --key SYS_UID_MAX="$number" \
        --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$account"
    number=$((number + 1))
done
# Read access to logs only: the portal shows the end of a service's log.
usermod --append --groups adm portal
# Ubuntu's images from 23.04 on reserve uid 1000 for an account of this name; the system user needs it.
if [ "$(id -u ubuntu 2> /dev/null)" = 1000 ]; then
    userdel --remove ubuntu 2> /dev/null
fi
# As in packages.sh.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1::/' /etc/shadow
# Backups of useradd and similar programs.
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-

# Readable by the group, not writable: root runs these files.
install -d -m 0755 -o root -g leonardo /opt /opt/leonardo /opt/leonardo/bin /opt/leonardo/bin/preflight.d /opt/leonardo/etc /opt/leonardo/share \
    /opt/caddy /opt/caddy/bin /opt/caddy/etc /opt/caddy/share
# Also writable by the system user: shipped files, environments.
tree=/opt/.image/micromamba
install -d -m 0755 -o root -g leonardo /opt/.image
install -d -m 2775 -o root -g leonardo /opt/storage "$tree" "$tree/bin" "$tree/conda-meta" "$tree/envs" "$tree/pkgs"
# An empty history file makes a root prefix the environment "base".
install -m 0664 -o root -g leonardo /dev/null "$tree/conda-meta/history"
# The switch to a copy on the workspace is one rename of this link; the tree below /opt/.image is never deleted.
ln -s "$tree" /opt/micromamba
install -d -m 2750 -g adm /var/log/supervisor
install -d -m 0755 /workspace
# Remotes are configured by root and by the system user: both write the file, and files keep the group.
install -d -m 2770 -g leonardo /etc/rclone
install -d -m 0700 /root/.ssh

# The system user has a documented password, so only root and members of sudo may use su.
sed -i '/pam_rootok\.so/a auth       required   pam_wheel.so use_uid group=sudo' /etc/pam.d/su

# Root and the user share the trees of the workspace and of /opt, and the workspace can be anywhere. A path ending in /* needs
# git 2.46; "*" works with all versions (consequences: SECURITY.md).
git config --system --add safe.directory '*'

# pam_loginuid writes /proc/self/loginuid, which containers may not write: if it is required, every login fails.
sed -i 's/^\(session[[:space:]]\{1,\}\)required\([[:space:]]\{1,\}pam_loginuid\.so\)/\1optional\2/' /etc/pam.d/sshd
