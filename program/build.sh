#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the on-chain program with Debian's Rust compiler for BPF.
#
#   build.sh            build out/bourse.v0.so and out/bourse.v3.so
#   build.sh update     build, then take the results as the committed bourse.so (v0) and bourse.v3.so
#   build.sh verify     build, then compare the results with the committed files
#   build.sh compiler   only fetch the compiler and print its rustc
#
# Nothing is installed: the packages are unpacked into the user's cache. Their versions are in
# toolchain.txt; other versions are used if those are gone, and reported. Exit status of verify:
# 0 the same bytes, 1 other bytes, 2 not comparable because the compiler is another one. Others: 3 failed,
# 4 the compiler is not to be had on this machine.
set -euo pipefail
cd "$(dirname "$0")"

readonly cache="${XDG_CACHE_HOME:-$HOME/.cache}/bourse/rust-bpf"
# The compiler, its library for the BPF target, and the assembler of the same LLVM.
readonly packages=(rustc-web libstd-rust-web-1.96 libstd-rust-web-dev-bpf libllvm22 llvm-22)
readonly record=toolchain.txt

step() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 3; }
unable() { printf 'build.sh: cannot build here: %s\n' "$*" >&2; exit 4; }

# apt runs apt with the machine's sources. Without package lists on the machine it keeps its own.
apt_options=()
prepare_apt() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    unable "needs Debian 12 with its security archive (apt-get and dpkg); bourse.so is committed, so only rebuilding it does"
  if ! apt-cache show rustc-web >/dev/null 2>&1; then
    step "fetch package lists into $cache/apt"
    mkdir -p "$cache/apt/lists/partial"
    apt_options=(-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o Debug::NoLocking=1)
    apt-get "${apt_options[@]}" -qq update
  fi
}

recorded() { awk -v name="$1" '$1 == "package" && $2 == name { print $3 }' "$record" 2>/dev/null; }
offered() { apt-cache "${apt_options[@]}" show "$1" 2>/dev/null | awk '$1 == "Version:" { print $2 }'; }

# choose prints NAME=VERSION: the recorded version if the archive still has it, else its newest.
choose() {
  local want have
  want=$(recorded "$1")
  have=$(offered "$1")
  [[ -n $have ]] || unable "this machine's sources have no package $1; it is in Debian 12 (bookworm-security)"
  if [[ -n $want ]] && grep -qxF -- "$want" <<<"$have"; then
    echo "$1=$want"
  else
    echo "$1=$(head -n 1 <<<"$have")"
  fi
}

# library_package prints the package of a shared library that a small machine may lack.
library_package() {
  case $1 in
    libz3.so.*) echo libz3-4 ;;
    libedit.so.*) echo libedit2 ;;
    libxml2.so.*) echo libxml2 ;;
    libicu*.so.*) echo libicu72 ;;
    libbsd.so.*) echo libbsd0 ;;
    libmd.so.*) echo libmd0 ;;
    libffi.so.*) echo libffi8 ;;
    libzstd.so.*) echo libzstd1 ;;
    libstdc++.so.*) echo libstdc++6 ;;
    *) fail "no package is known for the shared library $1" ;;
  esac
}

# missing prints the shared libraries that neither the machine nor DIR has.
missing() {
  local dir=$1 libs
  libs=$(echo "$dir"/usr/lib/*-linux-gnu)
  { LD_LIBRARY_PATH=$libs ldd "$dir/usr/bin/rustc" "$dir"/usr/lib/llvm-22/bin/llvm-mc || true; } |
    awk '/not found/ { print $1 }' | sort -u
}

# unpack DIR NAME=VERSION... downloads packages and unpacks them.
unpack() {
  local dir=$1 name
  shift
  for name in "$@"; do
    step "download ${name/=/ }"
    (cd "$dir/debs" && apt-get "${apt_options[@]}" -qq download "$name" 2>"$dir/apt.log") ||
      { cat "$dir/apt.log" >&2; fail "download of $name failed"; }
    for deb in "$dir"/debs/*.deb; do
      dpkg -x "$deb" "$dir"
      rm "$deb"
    done
  done
}

# home prints where the packages NAME=VERSION... are unpacked.
home() { echo "$cache/$(printf '%s\n' "$@" | sha256sum | cut -c 1-16)"; }

# fetch_compiler sets root to the unpacked compiler.
fetch_compiler() {
  local chosen=() name new lacks
  for name in "${packages[@]}"; do chosen+=("$name=$(recorded "$name")"); done
  root=$(home "${chosen[@]}")
  if [[ ! -e $root/packages.txt ]]; then
    prepare_apt
    chosen=()
    for name in "${packages[@]}"; do
      new=$(choose "$name")
      chosen+=("$new")
    done
    root=$(home "${chosen[@]}")
  fi
  if [[ ! -e $root/packages.txt ]]; then
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/new.XXXXXX")
    mkdir "$new/debs"
    unpack "$new" "${chosen[@]}"
    for _ in 1 2 3 4; do
      lacks=$(missing "$new")
      [[ -n $lacks ]] || break
      for name in $lacks; do
        name=$(library_package "$name")
        name=$(choose "$name")
        unpack "$new" "$name"
      done
    done
    printf '%s\n' "${chosen[@]}" | sed 's/^/package /; s/=/ /' >"$new/packages.txt"
    mv -T "$new" "$root" 2>/dev/null || rm -rf "$new" # Somebody else was faster.
  fi
  LD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu)
}

rustc() { LD_LIBRARY_PATH=$LD_LIBRARY_PATH "$root/usr/bin/rustc" "$@"; }
llvm_mc() { LD_LIBRARY_PATH=$LD_LIBRARY_PATH "$root/usr/lib/llvm-22/bin/llvm-mc" "$@"; }

# describe prints what toolchain.txt says about the compiler in use.
describe() {
  cat "$root/packages.txt"
  rustc -vV | awk '/^rustc/ { print } /^LLVM/ { print }'
}

build() {
  mkdir -p out
  step "compile with $(rustc -V)"
  # allows-misaligned-mem-access: the virtual machine does; without it keys are copied byte by byte.
  rustc --edition 2021 --crate-name bourse --crate-type cdylib --target bpfel-unknown-none \
    -C target-cpu=v2 -C target-feature=+allows-misaligned-mem-access -C llvm-args=-bpf-stack-size=4096 \
    -C panic=abort -C opt-level=2 -C codegen-units=1 -C overflow-checks=on -C debuginfo=0 \
    --remap-path-prefix="$PWD=." --emit=asm=out/bourse.s src/lib.rs 2>out/rustc.log ||
    { cat out/rustc.log >&2; fail "rustc refused the program"; }
  llvm_mc -triple=bpfel -mcpu=v2 -filetype=obj -o out/bourse.o out/bourse.s
  (cd sbpfld && CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath" GOTOOLCHAIN=local go build -o ../out/sbpfld .)
  for version in 0 3; do
    out/sbpfld -v "$version" -o "out/bourse.v$version.so" out/bourse.o >&2
  done
}

update() {
  cp out/bourse.v0.so bourse.so
  cp out/bourse.v3.so bourse.v3.so
  for file in bourse.so bourse.v3.so; do sha256sum "$file" >"$file.sha256"; done
  {
    echo "# What made bourse.so: Debian 12 packages, written by build.sh update."
    describe
  } >"$record"
  step "bourse.so is $(cut -c 1-64 bourse.so.sha256)"
}

verify() {
  sha256sum --quiet -c bourse.so.sha256 bourse.v3.so.sha256 || fail "the committed files do not match their hashes"
  if ! diff <(grep -v '^#' "$record") <(describe) >out/toolchain.diff; then
    {
      echo "WARNING: this compiler is not the one that made bourse.so ('<' recorded, '>' here):"
      cat out/toolchain.diff
      echo "WARNING: the bytes cannot be compared. Test out/bourse.v0.so instead; build.sh update takes it over."
    } >&2
    return 2
  fi
  if ! cmp out/bourse.v0.so bourse.so || ! cmp out/bourse.v3.so bourse.v3.so; then
    echo "build.sh: the sources do not give bourse.so (same compiler): run build.sh update or undo the change" >&2
    return 1
  fi
  step "the sources give bourse.so, byte for byte: $(cut -c 1-64 bourse.so.sha256)"
}

case ${1:-build} in
  build) fetch_compiler; build ;;
  update) fetch_compiler; build; update ;;
  verify) fetch_compiler; build; verify ;;
  compiler) fetch_compiler; describe >&2; echo "$root/usr/bin/rustc" ;;
  *) sed -n '3,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
