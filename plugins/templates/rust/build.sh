#!/bin/sh
# Builds the component, with rustup's toolchain or with Debian's; the first run fetches
# what it depends on.
# rustup: rustup target add wasm32-unknown-unknown
# Debian: apt install rustc-web cargo-web rust-web-src rust-web-llvm lld-19
set -eu
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
: "${CARGO_TARGET_DIR:=target}"
export CARGO_TARGET_DIR
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
# This linker writes components. Both toolchains bring it along.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld
# Panic messages name source files: not by where they lie on this machine.
flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
if [ -d "$(rustc --print target-libdir --target $target)" ]; then
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$flags"
    cargo build --quiet --release --target $target
elif [ -f /usr/lib/rustlib/src/rust/library/Cargo.lock ]; then
    # Debian ships the standard library for this target as source, and lld by version.
    lld=$(ls /usr/bin/wasm-ld-* | sort -V | tail -n 1)
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$flags -Clink-arg=--wasm-ld-path=$lld"
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo build --quiet \
        -Zbuild-std=std,panic_abort --release --target $target
else
    echo "build.sh: please run: rustup target add $target" >&2
    exit 3
fi
mkdir -p dist
cp "$CARGO_TARGET_DIR/$target/release/$(echo {{name}} | tr - _).wasm" dist/{{name}}.wasm
