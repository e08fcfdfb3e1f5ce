#!/bin/sh
# compile.sh DIRECTORY TARGET PACKAGE...: compiles programs of this workspace as static binaries that contain the list of their
# crates, into DIRECTORY/TARGET/release. Used by tools.sh and by xtask.
set -eu
directory=$1
target=$2
shift 2
# Does nothing if this version is there.
cargo install --quiet --locked --version 0.7.7 --root "$directory/cargo-auditable" cargo-auditable
export PATH="$directory/cargo-auditable/bin:$PATH"
# It would win over RUSTFLAGS.
unset CARGO_ENCODED_RUSTFLAGS
# --target keeps the flag away from procedural macros, which cannot be static.
export RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR="$directory"
for package; do
    shift
    set -- "$@" --package "$package"
done
cargo auditable build --release --locked --bins --target "$target" "$@"
