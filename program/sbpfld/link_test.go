// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustLink(t *testing.T, f fake, version int) *program {
	t.Helper()
	obj, err := readObject(bytes.NewReader(f.write()))
	if err != nil {
		t.Fatal(err)
	}
	p, err := link(obj, version)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSyscallHash(t *testing.T) {
	// From the interface of the virtual machine.
	cases := map[string]uint32{"abort": 0xb6fc1a11, "sol_log_": 0x207559bd, "sol_log_64_": 0x5c2a3178, "sol_memcpy_": 0x717cc4a3, "sol_sha256": 0x11f49d86}
	for name, want := range cases {
		if got := syscallHash(name); got != want {
			t.Errorf("%s: got %#x, want %#x", name, got, want)
		}
	}
}

func TestLink(t *testing.T) {
	// The code is the entry's seven instructions and the helper's three; the constants are the text, then its address.
	const text = 10 * 8
	cases := map[int]struct {
		table, constant uint64 // Addresses in the virtual machine.
		call            []byte
		entry           uint64
	}{
		0: {base + 64 + text + 8, base + 64 + text + 3, []byte{0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff}, 64},
		3: {8, 3, []byte{0x85, 0, 0, 0, 0xbd, 0x59, 0x75, 0x20}, base},
	}
	for version, tc := range cases {
		p := mustLink(t, sample(), version)
		le := binary.LittleEndian
		if len(p.text) != text || len(p.rodata) != 16 {
			t.Fatalf("v%d: code %d, constants %d", version, len(p.text), len(p.rodata))
		}
		if got := uint64(le.Uint32(p.text[4:])) | uint64(le.Uint32(p.text[12:]))<<32; got != tc.table {
			t.Errorf("v%d: address in code: got %#x, want %#x", version, got, tc.table)
		}
		if got := le.Uint64(p.rodata[8:]); got != tc.constant {
			t.Errorf("v%d: address in data: got %#x, want %#x", version, got, tc.constant)
		}
		if got := p.text[16:24]; !bytes.Equal(got, tc.call) {
			t.Errorf("v%d: call of the system: got %x, want %x", version, got, tc.call)
		}
		// Instruction 3 calls instruction 7, instruction 4 the one after it.
		if got := le.Uint32(p.text[28:]); got != 3 {
			t.Errorf("v%d: call by name: got %d, want 3", version, got)
		}
		if got := le.Uint32(p.text[36:]); got != 3 {
			t.Errorf("v%d: call by section: got %d, want 3", version, got)
		}
		if p.entry != tc.entry {
			t.Errorf("v%d: entry: got %#x, want %#x", version, p.entry, tc.entry)
		}
		if got, want := strings.Join(p.syscalls(), " "), "abort sol_log_"; got != want {
			t.Errorf("v%d: system calls: got %s, want %s", version, got, want)
		}
	}
}

func TestLinkRefuses(t *testing.T) {
	cases := map[string]struct {
		version int
		change  func(*fake)
		want    string
	}{
		"way to panic":         {0, func(f *fake) { f.symbols[4].name = "core_panic"; f.symbols[6].name = "__multi3" }, "not system calls (a way to panic, a compiler's helper or a typing error): __multi3 core_panic"},
		"version":              {1, func(*fake) {}, "sBPF version 1 is not supported"},
		"kind of relocation":   {0, func(f *fake) { f.sections[1].relocs[1].kind = 3 }, "relocation type 3"},
		"function's address":   {0, func(f *fake) { f.symbols[7].section = 3 }, "the address of the function"},
		"address of nothing":   {0, func(f *fake) { f.symbols[3].section = 0 }, "the address of"},
		"call of constants":    {0, func(f *fake) { f.symbols[1].section = 4 }, "which is not code"},
		"entry in constants":   {0, func(f *fake) { f.symbols[0].section = 4 }, "entrypoint is not code"},
		"call from constants":  {3, func(f *fake) { f.sections[4].relocs[0].kind = relocCall }, "relocation type 10"},
		"absolute inside code": {3, func(f *fake) { f.sections[1].relocs[0].kind = relocAbsolute }, "relocation type 2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := sample()
			tc.change(&f)
			obj, err := readObject(bytes.NewReader(f.write()))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := link(obj, tc.version); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestEncodeV0 reads the program back with an independent reader.
func TestEncodeV0(t *testing.T) {
	p := mustLink(t, sample(), 0)
	f, err := elf.NewFile(bytes.NewReader(p.encode()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_DYN || f.Machine != elf.EM_BPF || f.Entry != 64 {
		t.Errorf("header: %v %v entry %d", f.Type, f.Machine, f.Entry)
	}
	for name, want := range map[string][]byte{".text": p.text, ".rodata": p.rodata} {
		s := f.Section(name)
		got, err := s.Data()
		if err != nil || !bytes.Equal(got, want) || s.Addr != s.Offset {
			t.Errorf("%s: %v, at %d, address %d", name, err, s.Offset, s.Addr)
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	rel, err := f.Section(".rel.dyn").Data()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for ; len(rel) > 0; rel = rel[16:] {
		info := binary.LittleEndian.Uint64(rel[8:])
		if elf.R_TYPE64(info) != relocCall {
			t.Errorf("relocation type %d", elf.R_TYPE64(info))
		}
		got = append(got, symbols[elf.R_SYM64(info)-1].Name)
	}
	if want := "sol_log_ abort"; strings.Join(got, " ") != want {
		t.Errorf("relocations for %v, want %s", got, want)
	}
	for tag, section := range map[elf.DynTag]string{elf.DT_REL: ".rel.dyn", elf.DT_SYMTAB: ".dynsym", elf.DT_STRTAB: ".dynstr"} {
		if v, err := f.DynValue(tag); err != nil || len(v) != 1 || v[0] != f.Section(section).Offset {
			t.Errorf("%v: got %v, %v", tag, v, err)
		}
	}
}

func TestEncodeV3(t *testing.T) {
	p := mustLink(t, sample(), 3)
	raw := p.encode()
	f, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Progs) != 2 || len(f.Sections) != 0 || f.Entry != base || raw[48] != 3 {
		t.Fatalf("%d segments, %d sections, entry %#x, flags %d", len(f.Progs), len(f.Sections), f.Entry, raw[48])
	}
	constants, code := f.Progs[0], f.Progs[1]
	if constants.Vaddr != 0 || constants.Flags != elf.PF_R || code.Vaddr != base || code.Flags != elf.PF_X {
		t.Errorf("segments: %+v, %+v", constants.ProgHeader, code.ProgHeader)
	}
	if end := code.Off + code.Filesz; end != uint64(len(raw)) {
		t.Errorf("the code ends at %d of %d", end, len(raw))
	}
}

func TestEncodeWithoutConstants(t *testing.T) {
	f := fake{sections: []fakeSection{{name: ".text", code: true, data: exitOp}}, symbols: []fakeSymbol{{name: "entrypoint", section: 1}}}
	for _, version := range []int{0, 3} {
		got, err := elf.NewFile(bytes.NewReader(mustLink(t, f, version).encode()))
		if err != nil {
			t.Fatal(err)
		}
		if want := version / 3; len(got.Progs) != want {
			t.Errorf("v%d: %d segments, want %d", version, len(got.Progs), want)
		}
	}
}

func TestOutputIsDeterministic(t *testing.T) {
	for _, version := range []int{0, 3} {
		first := mustLink(t, sample(), version).encode()
		for range 50 {
			if !bytes.Equal(first, mustLink(t, sample(), version).encode()) {
				t.Fatalf("v%d: the same object gave other bytes", version)
			}
		}
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.o"), filepath.Join(dir, "out.so")
	if err := os.WriteFile(in, sample().write(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-v", "3", "-o", out, in}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(got, mustLink(t, sample(), 3).encode()) {
		t.Errorf("the written file differs: %v", err)
	}
	for _, args := range [][]string{{}, {in, in}, {filepath.Join(dir, "missing")}, {"-v", "x", in}, {out}, {"-o", filepath.Join(dir, "no", "such"), in}} {
		if err := run(args); err == nil {
			t.Errorf("run %v: no error", args)
		}
	}
}
