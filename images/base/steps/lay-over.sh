#!/bin/sh
# lay-over.sh TREE: lays a tree over /, owned by root, below /opt of the group "leonardo".
#
# Not COPY: that refuses a tree with lib/ or opt/micromamba/ in it, because those are links to directories in the image. Links
# are followed here, directories that exist keep owner and mode, and a checkout made with a generous umask does not hand
# root's files to a group.
set -eu
tar -C "$1" --owner=0 --group=0 --mode=go-w -cf - . | tar -C / --keep-directory-symlink --no-overwrite-dir -xpf -
cd "$1"
# A link is changed itself, not what it points to; a directory is named through the links above it.
find . -path './opt/*' ! -type d -printf '/%P\0' | xargs -0 -r chgrp -h leonardo
find . -path './opt/*' -type d -printf '/%P/.\0' | xargs -0 -r chgrp leonardo
# sudo ignores what others could have written, and complains about modes a checkout cannot express.
if [ -d etc/sudoers.d ]; then
    find etc/sudoers.d -type f -printf '/etc/sudoers.d/%P\0' | xargs -0 -r chmod 0440
fi
