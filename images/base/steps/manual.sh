#!/bin/sh
# manual.sh PAGES COMPLETION: installs the tools' manual pages, and links the shells' completion to every tool's name.
set -eu
pages=$1 completion=$2
for page in "$pages"/*.[0-9]; do
    directory=/usr/share/man/man${page##*.}
    install -d -m 0755 "$directory"
    gzip -9n < "$page" > "$directory/${page##*/}.gz"
done

install -D -m 0644 "$completion/words.tsv" /usr/share/leonardo/completion.tsv
share=/usr/share
names=supervisorctl
for path in /opt/leonardo/bin/*; do
    name=${path##*/}
    tool=$(basename "$(readlink -f "$path")")
    # A link is one more name of a tool.
    for page in "$share"/man/man[18]/"$tool".[18].gz; do
        [ ! -f "$page" ] || [ "$name" = "$tool" ] || ln -sf "${page##*/}" "${page%/*}/$name.${page#*"/$tool."}"
    done
    [ ! -f "$path" ] || names="$names $name"
done
for name in $names; do
    ln -sf leonardo "$share/bash-completion/completions/$name"
    ln -sf leonardo.fish "$share/fish/vendor_completions.d/$name.fish"
done
sed -i "s/@NAMES@/$names/" "$share/zsh/vendor-completions/_leonardo" "$share/fish/vendor_completions.d/leonardo.fish"
# For "man -k".
makewhatis "$share/man"
