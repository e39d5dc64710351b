// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// entrypoint is the symbol where the virtual machine enters a program.
const entrypoint = "entrypoint"

// maxAlign is the strictest alignment of constants: more than any type has.
const maxAlign = 64

// object is a relocatable object, reduced to the sections that entrypoint reaches.
type object struct {
	sections []*section // In the order of the file.
	entry    symbol
}

// section is a stretch of code or of read-only data.
type section struct {
	index  int
	name   string
	code   bool
	align  uint64
	data   []byte
	relocs []reloc
}

// reloc is a place in a section that depends on the address of a symbol.
type reloc struct {
	offset uint64
	kind   uint32
	symbol symbol
}

// symbol is a name, or a section itself, that relocations refer to.
type symbol struct {
	name    string
	section int // Zero if the symbol is not defined in the object.
	value   uint64
	whole   bool // It stands for its section.
}

func readObject(r io.ReaderAt) (*object, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("parse ELF: %w", err)
	}
	if f.Machine != elf.EM_BPF || f.Type != elf.ET_REL || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("want a relocatable little-endian BPF object, have %v %v", f.Machine, f.Type)
	}
	symbols, err := readSymbols(f)
	if err != nil {
		return nil, err
	}
	relocs, err := readRelocs(f, symbols)
	if err != nil {
		return nil, err
	}
	obj := &object{}
	for _, s := range symbols {
		if s.name == entrypoint && s.section != 0 {
			obj.entry = s
		}
	}
	if obj.entry.section == 0 {
		return nil, errors.New("no symbol " + entrypoint)
	}
	live := map[int]bool{}
	reach(obj.entry.section, relocs, live)
	for i, s := range f.Sections {
		if !live[i] || s.Size == 0 {
			continue
		}
		sec, err := readSection(i, s)
		if err != nil {
			return nil, err
		}
		sec.relocs = relocs[i]
		if err := sec.check(); err != nil {
			return nil, err
		}
		obj.sections = append(obj.sections, sec)
	}
	return obj, nil
}

// reach marks the section and all that its relocations lead to.
func reach(section int, relocs map[int][]reloc, live map[int]bool) {
	if section == 0 || live[section] {
		return
	}
	live[section] = true
	for _, r := range relocs[section] {
		reach(r.symbol.section, relocs, live)
	}
}

func readSymbols(f *elf.File) ([]symbol, error) {
	raw, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	symbols := make([]symbol, 0, len(raw))
	for _, s := range raw {
		sym := symbol{name: s.Name, value: s.Value, whole: elf.ST_TYPE(s.Info) == elf.STT_SECTION}
		if s.Section < elf.SHN_LORESERVE {
			sym.section = int(s.Section)
		}
		if sym.section >= len(f.Sections) {
			return nil, fmt.Errorf("symbol %q is in section %d, which does not exist", s.Name, sym.section)
		}
		symbols = append(symbols, sym)
	}
	return symbols, nil
}

// readRelocs returns the relocations by the section that they change.
func readRelocs(f *elf.File, symbols []symbol) (map[int][]reloc, error) {
	const entry = 16
	out := map[int][]reloc{}
	for _, s := range f.Sections {
		if s.Type == elf.SHT_RELA {
			return nil, fmt.Errorf("section %s: relocations with addends are not supported", s.Name)
		}
		if s.Type != elf.SHT_REL {
			continue
		}
		raw, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("read section %s: %w", s.Name, err)
		}
		for ; len(raw) >= entry; raw = raw[entry:] {
			info := binary.LittleEndian.Uint64(raw[8:])
			number := elf.R_SYM64(info)
			if number == 0 || int(number) > len(symbols) {
				return nil, fmt.Errorf("section %s: relocation for symbol %d, which does not exist", s.Name, number)
			}
			r := reloc{offset: binary.LittleEndian.Uint64(raw), kind: elf.R_TYPE64(info), symbol: symbols[number-1]}
			out[int(s.Info)] = append(out[int(s.Info)], r)
		}
	}
	return out, nil
}

func readSection(index int, s *elf.Section) (*section, error) {
	code := s.Flags&elf.SHF_EXECINSTR != 0
	// Constants that hold addresses are in .data.rel.ro.
	constant := strings.HasPrefix(s.Name, ".rodata") || strings.HasPrefix(s.Name, ".data.rel.ro")
	if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_ALLOC == 0 || !code && !constant {
		return nil, fmt.Errorf("section %s: only code and read-only data are supported", s.Name)
	}
	if s.Addralign > maxAlign {
		return nil, fmt.Errorf("section %s: alignment of %d is not supported", s.Name, s.Addralign)
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read section %s: %w", s.Name, err)
	}
	return &section{index: index, name: s.Name, code: code, align: max(s.Addralign, 1), data: data}, nil
}

// check makes sure that every relocation lies inside the section, so that applying it cannot fail.
func (s *section) check() error {
	if s.code && len(s.data)%instructionSize != 0 {
		return fmt.Errorf("section %s: %d bytes are not whole instructions", s.name, len(s.data))
	}
	for _, r := range s.relocs {
		size := uint64(8)
		if r.kind == relocAddress {
			size = 2 * instructionSize
		}
		if size > uint64(len(s.data)) || r.offset > uint64(len(s.data))-size || s.code && r.offset%instructionSize != 0 {
			return fmt.Errorf("section %s: relocation at %d is outside or misaligned", s.name, r.offset)
		}
	}
	return nil
}
