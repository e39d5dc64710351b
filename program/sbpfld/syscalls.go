// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"math/bits"
)

// syscalls are the only names that a program may leave undefined. Any other one, such as a panic function of
// Rust's core or a helper of compiler-rt, fails the link: that a program cannot panic is proved here.
var syscalls = map[string]bool{
	"abort":                        true,
	"sol_create_program_address":   true,
	"sol_get_clock_sysvar":         true,
	"sol_get_rent_sysvar":          true,
	"sol_get_return_data":          true,
	"sol_get_stack_height":         true,
	"sol_invoke_signed_c":          true,
	"sol_log_":                     true,
	"sol_log_64_":                  true,
	"sol_log_compute_units_":       true,
	"sol_log_data":                 true,
	"sol_log_pubkey":               true,
	"sol_memcmp_":                  true,
	"sol_memcpy_":                  true,
	"sol_memmove_":                 true,
	"sol_memset_":                  true,
	"sol_panic_":                   true,
	"sol_set_return_data":          true,
	"sol_sha256":                   true,
	"sol_try_find_program_address": true,
}

// syscallHash is the number by which sBPF version 3 names a system call: MurmurHash3, 32 bits, seed zero.
func syscallHash(name string) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	var h uint32
	b := []byte(name)
	for ; len(b) >= 4; b = b[4:] {
		k := bits.RotateLeft32(binary.LittleEndian.Uint32(b)*c1, 15) * c2
		h = bits.RotateLeft32(h^k, 13)*5 + 0xe6546b64
	}
	var k uint32
	for i := len(b) - 1; i >= 0; i-- {
		k = k<<8 | uint32(b[i])
	}
	h ^= bits.RotateLeft32(k*c1, 15) * c2
	h ^= uint32(len(name)) //nolint:gosec // Names are short.
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
