#!/bin/sh
# lay-over.sh TREE: copies a tree over /, owned by root, and by the group "leonardo" below /opt.
#
# Not COPY, which refuses a tree with lib/ or opt/micromamba/, because those are links to directories in the image. Here links
# are followed, existing directories keep owner and mode, and a checkout with a permissive umask does not make root's files
# writable for a group. Files of a reproducible build have the commit's time and not that of the checkout.
set -eu
tar -C "$1" --owner=0 --group=0 --mode=go-w ${SOURCE_DATE_EPOCH:+--mtime=@$SOURCE_DATE_EPOCH} -cf - . | tar -C / --keep-directory-symlink --no-overwrite-dir -xpf -
cd "$1"
# Changes a link itself and not its target; directories are reached through the links above them.
find . -path './opt/*' ! -type d -printf '/%P\0' | xargs -0 -r chgrp -h leonardo
find . -path './opt/*' -type d -printf '/%P/.\0' | xargs -0 -r chgrp leonardo
# sudo ignores files that others can write, and warns about modes that a checkout cannot express.
if [ -d etc/sudoers.d ]; then
    find etc/sudoers.d -type f -printf '/etc/sudoers.d/%P\0' | xargs -0 -r chmod 0440
fi
