#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Notes down (write) for which program, tests and defects every defect was caught, and tells (verify) whether it was for these. To plant
# them all takes minutes, and gives the same as long as none of these files changes.
set -euo pipefail
cd "$(dirname "$0")/.."
note=mutants/caught.sha256

now() {
  find Cargo.toml Cargo.lock src tests testdata mutants -type f ! -path "$note" -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

case ${1:-} in
write) now >"$note" ;;
verify)
  [[ $(now) == "$(cat "$note")" ]] || { echo "the program, its tests or its defects have changed since every defect was caught: all are planted again"; exit 1; }
  echo "every defect was caught for these sources; a sample of them is planted again"
  ;;
*) echo "usage: $0 write|verify" >&2; exit 2 ;;
esac
