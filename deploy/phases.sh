# Sourced by the other scripts: which phase they are in, and how long each took.

began=$(date +%s)

elapsed() {
    seconds=$(($(date +%s) - $1))
    if [ "$seconds" -lt 60 ]; then printf '%d s' "$seconds"
    else printf '%d min %d s' $((seconds / 60)) $((seconds % 60)); fi
}

phase() {
    phase_began=$(date +%s)
    printf '%s\n' "$*" >&2
}

phase_done() { printf '      done in %s\n' "$(elapsed "$phase_began")" >&2; }

# What a build needs; says what to install if it is not there.
need() {
    command -v "$1" >/dev/null 2>&1 && return 0
    printf '%s is missing: %s\n' "$1" "$2" >&2
    exit 1
}

need_toolchain() {
    # rustup's default place, where a login shell would have put it on the path.
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    export PATH
    need cargo "install Rust 1.90 or later, see https://rustup.rs"
    need c++ "install a C++ compiler, on Debian or Ubuntu: apt-get install g++"
    CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/chancery/target}"
    export CARGO_TARGET_DIR
    claim_target_dir
}

# Checkouts share the folder, so that RocksDB is compiled once. Cargo tells by the times of files what is built
# already, and would take what another checkout built later for this one's: so whose it is, is written down.
claim_target_dir() {
    mkdir -p "$CARGO_TARGET_DIR"
    if [ "$(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null)" != "$PWD" ]; then
        find . -name .git -prune -o \( -name '*.rs' -o -name '*.proto' \) -exec touch {} +
        printf '%s\n' "$PWD" >"$CARGO_TARGET_DIR/checkout"
    fi
}

find_libclang() {
    assignments=$(deploy/libclang) || exit 1
    eval "$assignments"
}

rocksdb_note() {
    if ls "$CARGO_TARGET_DIR"/debug/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; then
        printf 'RocksDB is compiled already'
    else
        printf 'RocksDB is compiled once: about 17 minutes on two cores'
    fi
}
