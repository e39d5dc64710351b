// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The relocations of a BPF object that this linker understands.
const (
	relocAddress  = 1  // R_BPF_64_64: the address in a two-slot load instruction.
	relocAbsolute = 2  // R_BPF_64_ABS64: an address in data.
	relocCall     = 10 // R_BPF_64_32: the target of a call.
)

const (
	instructionSize = 8
	headerSize      = 64
	// base is where the virtual machine maps a program of version 0, and the code of version 3.
	base = uint64(1) << 32
)

// program is a linked program, ready to be encoded.
type program struct {
	version      int
	text, rodata []byte
	textAddr     uint64 // As in the file: without base for version 0.
	rodataAddr   uint64
	entry        uint64
	calls        []call // Calls of the system, in the order of their addresses.

	places map[int]place
}

// place is where a section of the object went.
type place struct {
	code   bool
	offset uint64
}

// call is a call instruction that the loader resolves (version 0).
type call struct {
	addr uint64
	name string
}

// link lays the object's sections out and applies their relocations.
func link(obj *object, version int) (*program, error) {
	if version != 0 && version != 3 {
		return nil, fmt.Errorf("sBPF version %d is not supported", version)
	}
	p := &program{version: version, places: map[int]place{}}
	for _, s := range obj.sections {
		p.add(s)
	}
	p.rodata = pad(p.rodata, 8)
	if version == 0 {
		p.textAddr = headerSize
		p.rodataAddr = p.textAddr + uint64(len(p.text))
	} else {
		p.textAddr = base
	}
	var unknown []string
	for _, s := range obj.sections {
		for _, r := range s.relocs {
			if r.kind == relocCall && r.symbol.section == 0 && !syscalls[r.symbol.name] {
				unknown = append(unknown, r.symbol.name)
				continue
			}
			if err := p.apply(s, r); err != nil {
				return nil, fmt.Errorf("section %s: %w", s.name, err)
			}
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("these are not system calls (a way to panic, a compiler's helper or a typing error): %s",
			strings.Join(slices.Compact(unknown), " "))
	}
	at, ok := p.places[obj.entry.section]
	if !ok || !at.code {
		return nil, fmt.Errorf("%s is not code", entrypoint)
	}
	p.entry = p.textAddr + at.offset + obj.entry.value
	slices.SortFunc(p.calls, func(a, b call) int { return int(a.addr) - int(b.addr) }) //nolint:gosec // File offsets.
	return p, nil
}

// add appends a section to the code or to the read-only data.
func (p *program) add(s *section) {
	if s.code {
		p.places[s.index] = place{code: true, offset: uint64(len(p.text))}
		p.text = append(p.text, s.data...)
		return
	}
	p.rodata = pad(p.rodata, s.align)
	p.places[s.index] = place{offset: uint64(len(p.rodata))}
	p.rodata = append(p.rodata, s.data...)
}

func (p *program) apply(s *section, r reloc) error {
	at := p.places[s.index].offset + r.offset
	switch {
	case s.code && r.kind == relocAddress:
		return p.applyAddress(p.text[at:], r.symbol)
	case !s.code && r.kind == relocAbsolute:
		return p.applyAbsolute(p.rodata[at:], r.symbol)
	case s.code && r.kind == relocCall && r.symbol.section == 0:
		p.applySyscall(at, r.symbol.name)
		return nil
	case s.code && r.kind == relocCall:
		return p.applyCall(at, r.symbol)
	default:
		return fmt.Errorf("relocation type %d for %q is not supported", r.kind, r.symbol.name)
	}
}

// applyAddress completes a two-slot load: its immediates hold the low and the high half of the address.
func (p *program) applyAddress(slots []byte, s symbol) error {
	le := binary.LittleEndian
	addend := uint64(le.Uint32(slots[4:])) | uint64(le.Uint32(slots[12:]))<<32
	addr, err := p.address(s)
	if err != nil {
		return err
	}
	addr += addend
	le.PutUint32(slots[4:], uint32(addr)) //nolint:gosec // The low half.
	le.PutUint32(slots[12:], uint32(addr>>32))
	return nil
}

// applyAbsolute completes an address in read-only data.
func (p *program) applyAbsolute(word []byte, s symbol) error {
	addr, err := p.address(s)
	if err != nil {
		return err
	}
	if p.places[s.section].code {
		return fmt.Errorf("the address of the function %q in data is not supported", s.name)
	}
	binary.LittleEndian.PutUint64(word, addr+binary.LittleEndian.Uint64(word))
	return nil
}

// applyCall completes a call inside the program: the distance in instructions from the one after the call.
func (p *program) applyCall(at uint64, s symbol) error {
	to, ok := p.places[s.section]
	if !ok || !to.code {
		return fmt.Errorf("call of %q, which is not code", s.name)
	}
	imm := p.text[at+4:]
	target := int64(to.offset + s.value) //nolint:gosec // File offsets.
	if s.whole {
		// A call of a local function names its section; the immediate holds the distance from the section's start.
		target += (int64(int32(binary.LittleEndian.Uint32(imm))) + 1) * instructionSize //nolint:gosec // Signed.
	}
	distance := (target-int64(at))/instructionSize - 1          //nolint:gosec // File offsets.
	binary.LittleEndian.PutUint32(imm, uint32(int32(distance))) //nolint:gosec // Signed.
	return nil
}

// applySyscall completes a call of the system: by relocation in version 0, by the hash of its name in version 3.
func (p *program) applySyscall(at uint64, name string) {
	const sourceBits, relative = 0xf0, 0x10
	p.text[at+1] &^= sourceBits
	imm := uint32(0xffffffff)
	if p.version == 0 {
		p.text[at+1] |= relative
	} else {
		imm = syscallHash(name)
	}
	p.calls = append(p.calls, call{addr: p.textAddr + at, name: name})
	binary.LittleEndian.PutUint32(p.text[at+4:], imm)
}

// address returns where the virtual machine will see the symbol.
func (p *program) address(s symbol) (uint64, error) {
	at, ok := p.places[s.section]
	if !ok {
		return 0, fmt.Errorf("the address of %q is not supported", s.name)
	}
	addr := p.rodataAddr + at.offset + s.value
	if at.code {
		addr = p.textAddr + at.offset + s.value
	}
	if p.version == 0 {
		addr += base
	}
	return addr, nil
}

// syscalls returns the names of the system calls that the program makes.
func (p *program) syscalls() []string {
	var names []string
	for _, c := range p.calls {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pad extends b with zeros to a multiple of n.
func pad(b []byte, n uint64) []byte {
	for uint64(len(b))%n != 0 {
		b = append(b, 0)
	}
	return b
}
