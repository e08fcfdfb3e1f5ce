#!/bin/sh
# compile.sh DIRECTORY TARGET PACKAGE...: compiles programs of this workspace as static binaries that contain the list of their
# crates, into DIRECTORY/TARGET/release; the same bytes from every checkout. Used by tools.sh and by xtask.
set -eu
directory=$1
target=$2
shift 2
# Does nothing if this version is there.
cargo install --quiet --locked --version 0.7.7 --root "$directory/cargo-auditable" cargo-auditable
# What `cargo auditable build` sets, but by name: cargo hashes the wrapper's path into every crate of the workspace.
export PATH="$directory/cargo-auditable/bin:$PATH" RUSTC_WORKSPACE_WRAPPER=cargo-auditable
export CARGO_AUDITABLE_ORIG_ARGS='{"offline":false,"locked":true,"frozen":false,"config":[]}'
# Messages of panics contain paths of sources; the last prefix that matches is replaced. The flags are separated by 0x1f (\037),
# because a directory can contain a space, and win over RUSTFLAGS. --target keeps them away from procedural macros, which cannot
# be static.
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037' -C target-feature=+crt-static \
    --remap-path-prefix "$(pwd -P)=/src" \
    --remap-path-prefix "${CARGO_HOME:-$HOME/.cargo}=/usr/local/cargo" \
    --remap-path-prefix "$directory=/cache/target")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
export CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR="$directory"
for package; do
    shift
    set -- "$@" --package "$package"
done
cargo build --release --locked --bins --target "$target" "$@"
