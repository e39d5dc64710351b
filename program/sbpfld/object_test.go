// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// fake describes a relocatable object to be written.
type fake struct {
	machine  elf.Machine
	sections []fakeSection // Numbered from 1.
	symbols  []fakeSymbol  // Numbered from 1.
}

type fakeSection struct {
	name   string
	code   bool
	flags  elf.SectionFlag // In addition to being allocated.
	data   []byte
	align  uint64 // Eight if zero.
	relocs []fakeReloc
}

type fakeSymbol struct {
	name    string
	section int
	value   uint64
	kind    elf.SymType
}

type fakeReloc struct {
	offset uint64
	kind   uint32
	symbol uint32
}

// write returns the object's bytes: sections, relocations, symbols, names.
func (f fake) write() []byte {
	var body bytes.Buffer
	body.Write(make([]byte, 64))
	headers := []elf.Section64{{}}
	names := []byte{0}
	add := func(name string, h elf.Section64, data []byte) {
		h.Name, h.Off, h.Size = uint32(len(names)), uint64(body.Len()), uint64(len(data))
		names = append(append(names, name...), 0)
		body.Write(data)
		headers = append(headers, h)
	}
	for _, s := range f.sections {
		flags := elf.SHF_ALLOC | s.flags
		if s.code {
			flags |= elf.SHF_EXECINSTR
		}
		add(s.name, elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(flags), Addralign: max(s.align, 8)}, s.data)
	}
	symtab := len(f.sections) + 1
	for _, s := range f.sections {
		if s.relocs != nil {
			symtab++
		}
	}
	for i, s := range f.sections {
		if s.relocs == nil {
			continue
		}
		var rel bytes.Buffer
		for _, r := range s.relocs {
			write(&rel, elf.Rel64{Off: r.offset, Info: elf.R_INFO(r.symbol, r.kind)})
		}
		add(".rel"+s.name, elf.Section64{Type: uint32(elf.SHT_REL), Link: uint32(symtab), Info: uint32(i + 1), Entsize: 16}, rel.Bytes())
	}
	var symbols bytes.Buffer
	strings := []byte{0}
	write(&symbols, elf.Sym64{})
	for _, s := range f.symbols {
		write(&symbols, elf.Sym64{Name: uint32(len(strings)), Info: elf.ST_INFO(elf.STB_GLOBAL, s.kind), Shndx: uint16(s.section), Value: s.value})
		strings = append(append(strings, s.name...), 0)
	}
	add(".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(symtab + 1), Info: 1, Entsize: 24}, symbols.Bytes())
	add(".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, strings)
	add(".shstrtab", elf.Section64{Type: uint32(elf.SHT_STRTAB)}, append(names, ".shstrtab\x00"...))

	header := fileHeader(elf.Header64{Shoff: uint64(body.Len()), Shnum: uint16(len(headers)), Shstrndx: uint16(len(headers) - 1)})
	header.Type = uint16(elf.ET_REL)
	if f.machine != 0 {
		header.Machine = uint16(f.machine)
	}
	for _, h := range headers {
		write(&body, h)
	}
	var head bytes.Buffer
	write(&head, header)
	return append(head.Bytes(), body.Bytes()[64:]...)
}

// Instructions for the fakes.
var (
	exitOp   = []byte{0x95, 0, 0, 0, 0, 0, 0, 0}
	callOp   = []byte{0x85, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff}
	addrOp   = []byte{0x18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	movOp    = []byte{0xb7, 0, 0, 0, 7, 0, 0, 0}
	callLast = callTo(1) // A call of the second instruction of a section.
)

func callTo(instruction int32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x85, 0x10, 0, 0}, uint32(instruction-1))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// sample has everything that is supported: calls of the system, of a function by name and by section, addresses of
// constants in code and in data, and a section that nothing reaches and that could not be linked.
func sample() fake {
	return fake{
		sections: []fakeSection{
			{name: ".text.dead", code: true, data: join(callOp, exitOp), relocs: []fakeReloc{{0, relocCall, 6}}},
			{name: ".text.entry", code: true, data: join(addrOp, callOp, callOp, callLast, callOp, exitOp), relocs: []fakeReloc{
				{0, relocAddress, 4}, {16, relocCall, 5}, {24, relocCall, 2}, {32, relocCall, 3}, {40, relocCall, 7},
			}},
			{name: ".text.helper", code: true, data: join(movOp, movOp, exitOp)},
			{name: ".rodata.str", data: []byte("constant")},
			{name: ".data.rel.ro", data: make([]byte, 8), relocs: []fakeReloc{{0, relocAbsolute, 8}}},
		},
		symbols: []fakeSymbol{
			{name: "entrypoint", section: 2},
			{name: "helper", section: 3},
			{section: 3, kind: elf.STT_SECTION},
			{section: 5, kind: elf.STT_SECTION},
			{name: "sol_log_"},
			{name: "core_panic"},
			{name: "abort"},
			{name: "text", section: 4, value: 3},
		},
	}
}

func TestReadObjectKeepsWhatEntrypointReaches(t *testing.T) {
	obj, err := readObject(bytes.NewReader(sample().write()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range obj.sections {
		names = append(names, s.name)
	}
	if got, want := strings.Join(names, " "), ".text.entry .text.helper .rodata.str .data.rel.ro"; got != want {
		t.Errorf("sections: got %s, want %s", got, want)
	}
}

func TestReadObjectRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*fake)
		want   string
	}{
		"another machine":         {func(f *fake) { f.machine = elf.EM_X86_64 }, "want a relocatable little-endian BPF object"},
		"no entrypoint":           {func(f *fake) { f.symbols[0].name = "main" }, "no symbol entrypoint"},
		"undefined entrypoint":    {func(f *fake) { f.symbols[0].section = 0 }, "no symbol entrypoint"},
		"writable data":           {func(f *fake) { f.sections[3].name = ".data" }, ".data: only code and read-only data"},
		"relocation at the end":   {func(f *fake) { f.sections[1].relocs[1].offset = 56 }, "outside or misaligned"},
		"relocation past the end": {func(f *fake) { f.sections[1].relocs[1].offset = 1 << 63 }, "outside or misaligned"},
		"wide load at the end":    {func(f *fake) { f.sections[1].relocs[0].offset = 48 }, "outside or misaligned"},
		"misaligned relocation":   {func(f *fake) { f.sections[1].relocs[1].offset = 17 }, "outside or misaligned"},
		"half an instruction":     {func(f *fake) { f.sections[2].data = f.sections[2].data[:20] }, "not whole instructions"},
		"excessive alignment":     {func(f *fake) { f.sections[3].align = 1 << 40 }, "alignment of 1099511627776"},
		"missing symbol":          {func(f *fake) { f.sections[1].relocs[1].symbol = 99 }, "does not exist"},
		"missing section":         {func(f *fake) { f.symbols[1].section = 99 }, "does not exist"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := sample()
			tc.change(&f)
			if _, err := readObject(bytes.NewReader(f.write())); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestDamagedObjects links objects with a few wrong bytes: an error is right, a panic is not.
func TestDamagedObjects(t *testing.T) {
	const rounds = 5000
	random := rand.New(rand.NewPCG(1, 2))
	good := sample().write()
	linked := 0
	for range rounds {
		raw := bytes.Clone(good)
		for range 1 + random.IntN(4) {
			raw[random.IntN(len(raw))] = byte(random.IntN(256))
		}
		if linkBoth(raw) {
			linked++
		}
	}
	if linked == 0 || linked == rounds {
		t.Errorf("%d of %d were linked: the damage is of no use", linked, rounds)
	}
}

// FuzzLink looks for objects that make the linker panic.
func FuzzLink(f *testing.F) {
	f.Add(sample().write())
	f.Fuzz(func(_ *testing.T, raw []byte) { linkBoth(raw) })
}

// linkBoth links for both versions and says whether both succeeded.
func linkBoth(raw []byte) bool {
	obj, err := readObject(bytes.NewReader(raw))
	if err != nil {
		return false
	}
	for _, version := range []int{0, 3} {
		p, err := link(obj, version)
		if err != nil {
			return false
		}
		p.encode()
	}
	return true
}
