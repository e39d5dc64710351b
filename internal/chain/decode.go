// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
)

// message is a decoded and checked message: every index in it is in range, once the looked-up keys are there.
type message struct {
	signers         int
	readOnlySigners int
	readOnly        int
	keys            []Address
	blockhash       Hash
	instructions    []compiled
	lookups         []lookup
}

// lookup names accounts by their places in a table on the chain.
type lookup struct {
	table              Address
	writable, readable []byte
}

// lookedUp counts the keys that the chain loads from lookup tables.
func (m message) lookedUp() (keys int) {
	for _, one := range m.lookups {
		keys += len(one.writable) + len(one.readable)
	}
	return keys
}

// compiled is one instruction by indexes into the keys.
type compiled struct {
	program  int
	accounts []int
	data     []byte
}

// reader takes a buffer apart. After the first shortage it only yields zeros and err stays set.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, values ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, values...))
	}
	r.rest = nil
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail("%d bytes wanted, %d left", n, len(r.rest))
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() int {
	one := r.take(1)
	if one == nil {
		return 0
	}
	return int(one[0])
}

// length reads a wire length of at most three bytes in its shortest form, and refuses one whose items cannot be there.
func (r *reader) length(itemSize int) int {
	value := 0
	for shift := 0; shift < 21; shift += 7 {
		one := r.byte()
		value |= one & 0x7f << shift
		if one&0x80 != 0 {
			continue
		}
		if one == 0 && shift > 0 {
			r.fail("length is not in its shortest form")
			return 0
		}
		if value*itemSize > len(r.rest) {
			r.fail("%d items of %d bytes in %d bytes", value, itemSize, len(r.rest))
			return 0
		}
		return value
	}
	r.fail("length is too long")
	return 0
}

func (r *reader) key() (key Address) {
	copy(key[:], r.take(keySize))
	return key
}

// decodeTransaction takes a signed transaction apart. Nothing may be left over.
func decodeTransaction(raw []byte) (parsed message, signatures []Signature, body []byte, err error) {
	in := reader{rest: raw}
	for range in.length(signatureSize) {
		var signature Signature
		copy(signature[:], in.take(signatureSize))
		signatures = append(signatures, signature)
	}
	if in.err != nil {
		return message{}, nil, nil, in.err
	}
	body = in.rest
	if parsed, err = decodeMessage(body); err != nil {
		return message{}, nil, nil, err
	}
	if len(signatures) != parsed.signers {
		return message{}, nil, nil, fmt.Errorf("%w: %d signatures for %d signers", ErrMalformed, len(signatures), parsed.signers)
	}
	return parsed, signatures, body, nil
}

// decodeMessage takes a legacy or version 0 message apart and checks every index, so that nothing later can be out of range.
func decodeMessage(raw []byte) (message, error) {
	in := reader{rest: raw}
	versioned := len(raw) > 0 && raw[0]&0x80 != 0
	if versioned {
		if version := in.byte() & 0x7f; version != 0 {
			return message{}, fmt.Errorf("%w: version %d", ErrMalformed, version)
		}
	}
	signers, readOnlySigners, readOnly := in.byte(), in.byte(), in.byte()
	parsed := message{signers: signers, readOnlySigners: readOnlySigners, readOnly: readOnly}
	for range in.length(keySize) {
		parsed.keys = append(parsed.keys, in.key())
	}
	parsed.blockhash = Hash(in.key())
	for range in.length(3) {
		parsed.instructions = append(parsed.instructions, readInstruction(&in))
	}
	if versioned {
		parsed.lookups = readLookups(&in)
	}
	if len(in.rest) > 0 {
		in.fail("%d bytes left over", len(in.rest))
	}
	if signers == 0 || readOnlySigners >= signers || signers+readOnly > len(parsed.keys) {
		in.fail("header %d/%d/%d for %d keys", signers, readOnlySigners, readOnly, len(parsed.keys))
	}
	if in.err != nil {
		return message{}, in.err
	}
	return parsed, parsed.checkIndexes()
}

func readLookups(in *reader) (lookups []lookup) {
	for range in.length(keySize + 2) {
		lookups = append(lookups, lookup{table: in.key(), writable: in.take(in.length(1)), readable: in.take(in.length(1))})
	}
	return lookups
}

func readInstruction(in *reader) compiled {
	instruction := compiled{program: in.byte()}
	for _, index := range in.take(in.length(1)) {
		instruction.accounts = append(instruction.accounts, int(index))
	}
	instruction.data = in.take(in.length(1))
	return instruction
}

// checkIndexes refuses a message that names accounts it does not have. A program is never looked up, nor the payer.
func (m message) checkIndexes() error {
	total := len(m.keys) + m.lookedUp()
	if total > maxKeys {
		return fmt.Errorf("%w: %d keys", ErrMalformed, total)
	}
	for i, instruction := range m.instructions {
		if instruction.program == 0 || instruction.program >= len(m.keys) {
			return fmt.Errorf("%w: program index %d of instruction %d", ErrMalformed, instruction.program, i)
		}
		for _, index := range instruction.accounts {
			if index >= total {
				return fmt.Errorf("%w: account index %d of instruction %d", ErrMalformed, index, i)
			}
		}
	}
	return nil
}

// resolve names the accounts of an instruction. The keys are all of the message's, the looked-up ones included.
func resolve(keys []Address, instruction compiled, depth int) (Call, error) {
	if instruction.program >= len(keys) {
		return Call{}, fmt.Errorf("%w: program index %d of %d keys", ErrMalformed, instruction.program, len(keys))
	}
	call := Call{Program: keys[instruction.program], Data: instruction.data, Depth: depth}
	for _, index := range instruction.accounts {
		if index >= len(keys) {
			return Call{}, fmt.Errorf("%w: account index %d of %d keys", ErrMalformed, index, len(keys))
		}
		call.Accounts = append(call.Accounts, keys[index])
	}
	return call, nil
}
