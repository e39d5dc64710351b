// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// encode returns the program as an ELF file.
func (p *program) encode() []byte {
	if p.version == 0 {
		return p.encodeV0()
	}
	return p.encodeV3()
}

// encodeV3 writes the strict layout: a header and one segment each for read-only data and code.
func (p *program) encodeV3() []byte {
	const segmentSize = 56
	segments := []elf.Prog64{{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_X), Vaddr: base, Paddr: base, Filesz: uint64(len(p.text))}}
	if len(p.rodata) > 0 {
		constants := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Filesz: uint64(len(p.rodata))}
		segments = append([]elf.Prog64{constants}, segments...)
	}
	at := headerSize + uint64(len(segments))*segmentSize
	for i := range segments {
		segments[i].Memsz = segments[i].Filesz
		segments[i].Off = at
		at += segments[i].Filesz
	}
	var b bytes.Buffer
	write(&b, fileHeader(elf.Header64{Entry: p.entry, Phoff: headerSize, Flags: 3, Phnum: uint16(len(segments))}))
	for _, s := range segments {
		write(&b, s)
	}
	b.Write(p.rodata)
	b.Write(p.text)
	return b.Bytes()
}

// outSection is a section of a version 0 file.
type outSection struct {
	name   string
	header elf.Section64
	data   []byte
}

// The sections of a version 0 file, by their numbers.
const (
	nullSection = iota
	textSection
	rodataSection
	dynamicSection
	dynsymSection
	dynstrSection
	relSection
	namesSection
)

// encodeV0 writes the layout with sections and dynamic relocations: file offsets are addresses.
func (p *program) encodeV0() []byte {
	const alloc = uint64(elf.SHF_ALLOC)
	dynsym, dynstr, rel := p.dynamicTables()
	sections := []outSection{
		nullSection:    {},
		textSection:    {name: ".text", data: p.text, header: elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: alloc | uint64(elf.SHF_EXECINSTR)}},
		rodataSection:  {name: ".rodata", data: p.rodata, header: elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: alloc}},
		dynamicSection: {name: ".dynamic", header: elf.Section64{Type: uint32(elf.SHT_DYNAMIC), Flags: alloc | uint64(elf.SHF_WRITE), Link: dynstrSection, Entsize: 16}},
		dynsymSection:  {name: ".dynsym", data: dynsym, header: elf.Section64{Type: uint32(elf.SHT_DYNSYM), Flags: alloc, Link: dynstrSection, Info: 1, Entsize: 24}},
		dynstrSection:  {name: ".dynstr", data: dynstr, header: elf.Section64{Type: uint32(elf.SHT_STRTAB), Flags: alloc}},
		relSection:     {name: ".rel.dyn", data: rel, header: elf.Section64{Type: uint32(elf.SHT_REL), Flags: alloc, Link: dynsymSection, Entsize: 16}},
		namesSection:   {name: ".shstrtab", header: elf.Section64{Type: uint32(elf.SHT_STRTAB)}},
	}
	names := []byte{0}
	for i := 1; i < len(sections); i++ {
		sections[i].header.Name = uint32(len(names)) //nolint:gosec // A short table.
		names = append(append(names, sections[i].name...), 0)
	}
	sections[namesSection].data = names
	sections[dynamicSection].data = make([]byte, dynamicSize)
	at := uint64(headerSize)
	for i := 1; i < len(sections); i++ {
		s := &sections[i]
		s.header.Off, s.header.Size, s.header.Addralign = at, uint64(len(s.data)), 8
		if s.header.Flags&alloc != 0 {
			s.header.Addr = at
		}
		at += s.header.Size
	}
	if len(p.calls) > 0 {
		sections[dynamicSection].data = dynamic(sections)
	}
	return encodeSections(sections, p.entry)
}

func encodeSections(sections []outSection, entry uint64) []byte {
	var b bytes.Buffer
	last := sections[len(sections)-1].header
	table := (last.Off + last.Size + 7) &^ 7
	write(&b, fileHeader(elf.Header64{
		Entry: entry, Phoff: headerSize, Shoff: table, Shnum: uint16(len(sections)), Shstrndx: namesSection, //nolint:gosec // Eight.
	}))
	for _, s := range sections {
		b.Write(s.data)
	}
	b.Write(make([]byte, table-uint64(b.Len()))) //nolint:gosec // Non-negative.
	for _, s := range sections {
		write(&b, s.header)
	}
	return b.Bytes()
}

// dynamicTables returns the symbols of the system calls, their names, and the places of the calls.
func (p *program) dynamicTables() (dynsym, dynstr, rel []byte) {
	var symbols, relocs bytes.Buffer
	names := []byte{0}
	write(&symbols, elf.Sym64{})
	number := map[string]uint32{}
	for _, c := range p.calls {
		if number[c.name] == 0 {
			number[c.name] = uint32(len(number) + 1)                                                                //nolint:gosec // A short table.
			write(&symbols, elf.Sym64{Name: uint32(len(names)), Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_NOTYPE)}) //nolint:gosec // A short table.
			names = append(append(names, c.name...), 0)
		}
		write(&relocs, elf.Rel64{Off: c.addr, Info: elf.R_INFO(number[c.name], relocCall)})
	}
	return symbols.Bytes(), pad(names, 8), relocs.Bytes()
}

// dynamicSize is the size of the dynamic section: eight pairs of words.
const dynamicSize = 8 * 16

func dynamic(sections []outSection) []byte {
	rel, symbols, names := sections[relSection].header, sections[dynsymSection].header, sections[dynstrSection].header
	var b bytes.Buffer
	for _, e := range []elf.Dyn64{
		{Tag: int64(elf.DT_REL), Val: rel.Off},
		{Tag: int64(elf.DT_RELSZ), Val: rel.Size},
		{Tag: int64(elf.DT_RELENT), Val: rel.Entsize},
		{Tag: int64(elf.DT_SYMTAB), Val: symbols.Off},
		{Tag: int64(elf.DT_SYMENT), Val: symbols.Entsize},
		{Tag: int64(elf.DT_STRTAB), Val: names.Off},
		{Tag: int64(elf.DT_STRSZ), Val: names.Size},
		{Tag: int64(elf.DT_NULL)},
	} {
		write(&b, e)
	}
	return b.Bytes()
}

// fileHeader completes the header of a shared BPF object.
func fileHeader(h elf.Header64) elf.Header64 {
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	h.Type, h.Machine, h.Version = uint16(elf.ET_DYN), uint16(elf.EM_BPF), uint32(elf.EV_CURRENT)
	h.Ehsize, h.Phentsize, h.Shentsize = headerSize, 56, 64
	return h
}

// write appends a fixed-size record. A buffer takes everything, so there is no error to return.
func write(b *bytes.Buffer, record any) {
	_ = binary.Write(b, binary.LittleEndian, record)
}
