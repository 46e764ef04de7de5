#!/usr/bin/env bash
# Builds the resolvers that are written in Rust, as components for the host.
#
#   plugins/build.sh [NAME...]           builds (default: all) into plugins/fixtures/NAME.wasm
#                                        and writes down in guests.lock what they were made of
#   plugins/build.sh --check [NAME...]   builds beside the fixtures and compares: fails where
#                                        sources changed without a build, where the same
#                                        toolchain gives other bytes, and where the new
#                                        components decide otherwise
#
# It works with the wasm32-unknown-unknown target of rustup where that is installed, else
# with Debian's compiler, which builds the standard library once per target directory (95
# seconds of CPU). The target directory is $TAPEMARK_GUESTS_TARGET, else $CARGO_TARGET_DIR,
# else target/guests. Exit codes: 1 a build or a check failed, 2 usage, 3 no toolchain.
set -euo pipefail
plugins=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$plugins")
export LC_ALL=C
target=wasm32-unknown-unknown
guests=${TAPEMARK_GUESTS_TARGET:-${CARGO_TARGET_DIR:-$root/target/guests}}
lock=$plugins/fixtures/guests.lock

say() { printf 'guests: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

check=false
names=()
for argument in "$@"; do
    case "$argument" in
        --check) check=true ;;
        -*) fail "unknown option $argument; usage: plugins/build.sh [--check] [NAME...]" 2 ;;
        *) names+=("$argument") ;;
    esac
done

# Every guest: its package name and its folder below plugins/.
declare -A folder=()
for manifest in "$plugins"/builtin/*/Cargo.toml "$plugins"/examples/rust/Cargo.toml "$plugins"/hostile/Cargo.toml; do
    [ -f "$manifest" ] || continue
    name=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1)
    path=$(dirname "$manifest")
    folder[$name]=${path#"$plugins"/}
done
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(printf '%s\n' "${!folder[@]}" | sort)
for name in "${names[@]}"; do
    [ -n "${folder[$name]:-}" ] || fail "no resolver $name; there are: $(printf '%s\n' "${!folder[@]}" | sort | paste -sd ' ')" 2
done

# Which toolchain. rustc names the target's folder even where it is not installed.
debian_std=/usr/lib/rustlib/src/rust/library/Cargo.lock
packages="rustc-web cargo-web rust-web-src rust-web-llvm lld-19"
has_debian() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -f "$debian_std" ] && ls /usr/bin/wasm-ld-* >/dev/null 2>&1; }
if libdir=$(cd "$plugins" && rustc --print target-libdir --target "$target" 2>/dev/null) && [ -d "$libdir" ]; then
    mode=native
else
    if ! has_debian && [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $packages"
        apt-get update -qq
        # shellcheck disable=SC2086 # a list
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
    fi
    has_debian || fail "no compiler for $target; please run: rustup target add $target   (or, on Debian: apt-get install $packages)" 3
    mode=debian
fi

# The builder's folders stay out of the components: they would tell of the machine and
# make the bytes depend on it.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/tapemark"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER
if [ "$mode" = native ]; then
    rustc=rustc
    cargo=(cargo)
    std=()
else
    rustc=/usr/bin/rustc
    cargo=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
    std=(-Zbuild-std=std,panic_abort)
    flags="$flags -Clink-arg=--wasm-ld-path=$(ls /usr/bin/wasm-ld-* | sort -V | tail -n 1)"
fi
toolchain="$(cd "$plugins" && "$rustc" --version), $mode"
say "$mode mode, $toolchain, into $guests"

build() {
    (cd "$plugins/${folder[$1]}" &&
        CARGO_TARGET_DIR=$guests \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$flags \
        "${cargo[@]}" rustc --quiet --locked --lib --crate-type cdylib "${std[@]}" --target "$target" --release)
}
built() { printf '%s\n' "$guests/$target/release/${1//-/_}.wasm"; }
digest() { sha256sum <"$1" | cut -d ' ' -f 1; }
# The packages of this repository that a guest is made of, its own first among them.
packages() {
    local found
    found=$(cd "$plugins/${folder[$1]}" && cargo tree --quiet --locked --edges normal --prefix none --target "$target" |
        sed -n "s|^.* (\\($root/[^)]*\\)).*\$|\\1|p" | sed "s|^$root/||" | sort -u)
    [ -n "$found" ] || fail "$1: cargo tree names no package of $root"
    printf '%s\n' "$found"
}
# SHA-256 over the digests and names of all files of these packages, and of the contract.
# Cargo.lock is not among them: each new guest changes it.
sources() {
    # shellcheck disable=SC2046 # a list of folders without spaces
    (cd "$root" && find $(packages "$1") plugins/wit -type f ! -path '*/target/*' ! -path '*/tests/*' ! -path '*/.*' \
        ! -name Cargo.lock ! -name '*.wasm' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}
locked() { awk -v name="$1" '$1 == name' "$lock" 2>/dev/null || true; }

if [ "$check" = false ]; then
    mkdir -p "$guests" "$plugins/fixtures"
    for name in "${names[@]}"; do
        before=$(sources "$name")
        build "$name"
        cp "$(built "$name")" "$plugins/fixtures/$name.wasm"
        # Several builds may run at once.
        (
            flock 9
            {
                echo "# Made by plugins/build.sh: name, SHA-256 of the component, SHA-256 of its sources, toolchain."
                {
                    grep -v '^#' "$lock" 2>/dev/null | awk -v name="$name" '$1 != name' || true
                    echo "$name $(digest "$plugins/fixtures/$name.wasm") $before $toolchain"
                } | sort
            } >"$guests/guests.lock"
            cp "$guests/guests.lock" "$lock"
        ) 9>"$guests/.guests-lock"
        say "$name: $(wc -c <"$plugins/fixtures/$name.wasm") bytes"
    done
    exit 0
fi

failed=0
wrong() { say "$*"; failed=1; }
# What is not rebuilt is taken as it is.
out=$guests/checked
rm -rf "$out"
mkdir -p "$out"
cp "$plugins"/fixtures/*.wasm "$out/"
for name in "${names[@]}"; do
    fixture=$plugins/fixtures/$name.wasm
    read -r _ wasm made_of with <<<"$(locked "$name")" || true
    if [ ! -f "$fixture" ] || [ -z "${wasm:-}" ]; then
        wrong "$name: expected plugins/fixtures/$name.wasm and its line in guests.lock; run plugins/build.sh $name"
        continue
    fi
    [ "$(digest "$fixture")" = "$wasm" ] ||
        wrong "$name: the fixture is not the one of guests.lock; run plugins/build.sh $name"
    [ "$(sources "$name")" = "$made_of" ] ||
        wrong "$name: its sources, the SDK or the contract changed; run plugins/build.sh $name"
    build "$name"
    cp "$(built "$name")" "$out/$name.wasm"
    if [ "$with" != "$toolchain" ]; then
        say "$name: built; the fixture is of another toolchain ($with), bytes not compared"
    elif cmp -s "$fixture" "$out/$name.wasm"; then
        say "$name: the same bytes"
    elif [ -n "$(packages "$name" | grep -v '^plugins/')" ]; then
        # Cargo names what lies outside of a workspace by its absolute path, and rustc's
        # symbols, and so their order, follow.
        say "$name: other bytes; it uses a package outside of plugins/, which makes them depend on the folder of the checkout"
    else
        wrong "$name: the same toolchain gives other bytes; run plugins/build.sh $name"
    fi
done
[ "$failed" = 0 ] || exit 1
say "behaviour of the rebuilt components"
cd "$root"
TAPEMARK_GUESTS_DIR=$out cargo test --quiet --locked -p resolver --features compiler --test builtins
