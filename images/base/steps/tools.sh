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
    set -- "$@" --package "$(basename "$(dirname "$manifest")")"
done
# --target keeps the flag away from procedural macros, which cannot be static.
export RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=/cache/target
cargo build --release --locked --target "$target" "$@"
mkdir -p "$out"
find "$results" -maxdepth 1 -type f -perm /111 -exec cp {} "$out/" \;
