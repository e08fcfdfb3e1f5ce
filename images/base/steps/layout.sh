#!/bin/sh
# layout.sh: the accounts and directories that the tools find in place.
set -eu

groupadd --gid 1111 leonardo
# The web-facing programs have accounts without a home, a shell, a password, or a group that could read secrets, talk to
# supervisord, or write where root runs something.
# Their numbers are not those of a volume's owner: no distribution gives them out (crates/init/src/id_conflict.rs).
number=61111
for account in portal caddy; do
    groupadd --gid "$number" "$account"
    useradd --system --uid "$number" --gid "$number" --key SYS_UID_MAX="$number" \
        --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$account"
    number=$((number + 1))
done
# Logs and nothing else: the portal shows the end of a service's log.
usermod --append --groups adm portal
# Ubuntu's images from 23.04 on reserve uid 1000 for an account of this name; it is the number of our system user.
if [ "$(id -u ubuntu 2> /dev/null)" = 1000 ]; then
    userdel --remove ubuntu 2> /dev/null
fi
# useradd and its kin leave the previous versions behind.
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-

# Readable by the group, not writable: root runs what lies here.
install -d -m 0755 -o root -g leonardo /opt /opt/leonardo /opt/leonardo/bin /opt/leonardo/bin/preflight.d /opt/leonardo/etc /opt/leonardo/share \
    /opt/caddy /opt/caddy/bin /opt/caddy/etc /opt/caddy/share
# Written by the system user as well: shipped files, environments.
tree=/opt/.image/micromamba
install -d -m 0755 -o root -g leonardo /opt/.image
install -d -m 2775 -o root -g leonardo /opt/storage "$tree" "$tree/bin" "$tree/conda-meta" "$tree/envs" "$tree/pkgs"
# An (empty) history is what makes a root prefix an environment called "base".
install -m 0664 -o root -g leonardo /dev/null "$tree/conda-meta/history"
# The switch to a copy on the workspace is one rename of this link; the tree below /opt/.image is never deleted.
ln -s "$tree" /opt/micromamba
install -d -m 2750 -g adm /var/log/supervisor
install -d -m 0755 /workspace
install -d -m 0700 /root/.ssh

# The system user has a documented password, so nobody but root and members of sudo may be asked for it.
sed -i '/pam_rootok\.so/a auth       required   pam_wheel.so use_uid group=sudo' /etc/pam.d/su

# Root and the user share the trees of the workspace and of /opt, whose place is the volume's choice. A path that ends in /* is
# understood from git 2.46 on only; "*" is by all (SECURITY.md has what that means).
git config --system --add safe.directory '*'

# pam_loginuid writes /proc/self/loginuid, which containers may not: as a requirement it closes every login.
sed -i 's/^\(session[[:space:]]\{1,\}\)required\([[:space:]]\{1,\}pam_loginuid\.so\)/\1optional\2/' /etc/pam.d/sshd
