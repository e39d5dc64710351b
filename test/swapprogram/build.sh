#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tests' exchange with the compiler and the linker of the lease program.
#
#   build.sh          build out/swap.so
#   build.sh update   build, then take the result as the committed swap.so
#   build.sh verify   build, then compare the result with the committed file
#
# The bytes are the same only with the compiler in program/toolchain.txt.
set -euo pipefail
cd "$(dirname "$0")"

rustc=$(../../program/build.sh compiler 2>/dev/null)
root=${rustc%/usr/bin/rustc}
LD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

mkdir -p out
"$rustc" --edition 2021 --crate-name swap --crate-type cdylib --target bpfel-unknown-none \
  -C target-cpu=v2 -C target-feature=+allows-misaligned-mem-access -C llvm-args=-bpf-stack-size=4096 \
  -C panic=abort -C opt-level=2 -C codegen-units=1 -C overflow-checks=on -C debuginfo=0 \
  --remap-path-prefix="$(cd ../.. && pwd)=." --emit=asm=out/swap.s src/lib.rs
"$root/usr/lib/llvm-22/bin/llvm-mc" -triple=bpfel -mcpu=v2 -filetype=obj -o out/swap.o out/swap.s
(cd ../../program/sbpfld && CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath" GOTOOLCHAIN=local go run . -v 0 -o "$OLDPWD/out/swap.so" "$OLDPWD/out/swap.o") >&2

if [[ ${1:-} == update ]]; then
  cp out/swap.so swap.so
  sha256sum swap.so >swap.so.sha256
elif [[ ${1:-} == verify ]]; then
  sha256sum --quiet -c swap.so.sha256
  cmp out/swap.so swap.so
fi
