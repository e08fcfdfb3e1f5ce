#!/bin/sh
# tools.sh OUT: builds the program of every directory of crates/ as a static binary.
set -eu
out=$1
. /build/trust.sh
about=$(rustc -vV)
target=$(printf '%s\n' "$about" | sed -n 's/^host: //p')
results=/cache/target/$target/release
if [ -d "$results" ]; then
    find "$results" -maxdepth 1 -type f -perm /111 -delete
fi
set --
for manifest in crates/*/Cargo.toml; do
    set -- "$@" "$(basename "$(dirname "$manifest")")"
done
/build/compile.sh /cache/target "$target" "$@"
mkdir -p "$out"
find "$results" -maxdepth 1 -type f -perm /111 -exec cp {} "$out/" \;
