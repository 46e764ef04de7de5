#!/bin/sh
# Builds the core module. Needs clang with its WebAssembly runtime, and wasi-libc.
# Debian: apt install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc
set -eu
cd "$(dirname "$0")"
mkdir -p dist
"${CLANG:-clang-19}" --target=wasm32-wasi -mexec-model=reactor -std=c17 -O2 \
    -Wall -Wextra -Wno-constant-conversion -Wl,--strip-debug \
    policy.c bindings/resolver.c bindings/resolver_component_type.o \
    -o dist/{{name}}.core.wasm
