// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
)

// MaxTransactionSize is the greatest transaction that the network carries.
const MaxTransactionSize = 1232

const (
	keySize       = 32
	signatureSize = 64
	maxKeys       = 256
)

// ErrTooBig says that a transaction would exceed the network's limit.
var ErrTooBig = errors.New("transaction is too big")

// ErrMalformed says that bytes are not one well-formed transaction.
var ErrMalformed = errors.New("malformed transaction")

// Meta is one account of an instruction and what the instruction may do with it.
type Meta struct {
	Address  Address
	Signer   bool
	Writable bool
}

// Instruction is one call of a program.
type Instruction struct {
	Program  Address
	Accounts []Meta
	Data     []byte
}

// keyTable collects the accounts of a message and the union of their privileges, in order of first use.
type keyTable struct {
	place map[Address]int
	metas []Meta
}

func (t *keyTable) add(meta Meta) {
	index, ok := t.place[meta.Address]
	if !ok {
		t.place[meta.Address] = len(t.metas)
		t.metas = append(t.metas, meta)
		return
	}
	t.metas[index].Signer = t.metas[index].Signer || meta.Signer
	t.metas[index].Writable = t.metas[index].Writable || meta.Writable
}

// collect returns the accounts that the instructions name, the payer first and the programs last.
func collect(payer Address, instructions []Instruction) keyTable {
	table := keyTable{place: map[Address]int{}}
	table.add(Meta{Address: payer, Signer: true, Writable: true})
	for _, instruction := range instructions {
		for _, meta := range instruction.Accounts {
			table.add(meta)
		}
	}
	for _, instruction := range instructions {
		table.add(Meta{Address: instruction.Program})
	}
	return table
}

// CompileMessage lays out a legacy message, always to the same bytes for the same input. Accounts are ordered: the payer,
// writable signers, read-only signers, writable, read-only; and by first use within each group, programs last.
func CompileMessage(payer Address, instructions []Instruction, blockhash Hash) ([]byte, error) {
	table := collect(payer, instructions)
	if len(table.metas) > maxKeys {
		return nil, fmt.Errorf("compile message: %w: %d accounts", ErrTooBig, len(table.metas))
	}
	header, keys := table.order()
	body := appendInstructions(appendKeys(header, keys, blockhash), keys, instructions)
	if len(body) > MaxTransactionSize {
		return nil, fmt.Errorf("compile message: %w: %d bytes", ErrTooBig, len(body))
	}
	return body, nil
}

func appendKeys(to []byte, keys []Address, blockhash Hash) []byte {
	to = appendLength(to, len(keys))
	for _, key := range keys {
		to = append(to, key[:]...)
	}
	return append(to, blockhash[:]...)
}

// appendInstructions writes the instructions by indexes into the keys, of which there are at most 256.
func appendInstructions(to []byte, keys []Address, instructions []Instruction) []byte {
	index := make(map[Address]byte, len(keys))
	for i, key := range keys {
		index[key] = byte(i)
	}
	to = appendLength(to, len(instructions))
	for _, instruction := range instructions {
		to = append(to, index[instruction.Program])
		to = appendLength(to, len(instruction.Accounts))
		for _, meta := range instruction.Accounts {
			to = append(to, index[meta.Address])
		}
		to = appendLength(to, len(instruction.Data))
		to = append(to, instruction.Data...)
	}
	return to
}

// order groups the accounts by privilege and returns the message header with the keys in their final order.
func (t *keyTable) order() (header []byte, keys []Address) {
	var groups [4][]Address
	for _, meta := range t.metas {
		group := 3
		switch {
		case meta.Signer && meta.Writable:
			group = 0
		case meta.Signer:
			group = 1
		case meta.Writable:
			group = 2
		}
		groups[group] = append(groups[group], meta.Address)
	}
	signers, readOnlySigners, readOnly := len(groups[0])+len(groups[1]), len(groups[1]), len(groups[3])
	for _, group := range groups {
		keys = append(keys, group...)
	}
	//nolint:gosec // at most 256 keys; a header count of 256 would need a message far beyond the size limit
	return []byte{byte(signers), byte(readOnlySigners), byte(readOnly)}, keys
}

// appendLength writes a length as the wire has it: seven bits a byte, low bits first.
func appendLength(to []byte, length int) []byte {
	for length >= 0x80 {
		to = append(to, byte(length&0x7f)|0x80)
		length >>= 7
	}
	return append(to, byte(length)) //nolint:gosec // below 0x80 here
}

// Envelope is one message and the signatures collected for it.
type Envelope struct {
	message    []byte
	parsed     message
	signers    []Address
	signatures map[Address]Signature
}

// NewEnvelope takes a message that is to be signed and learns from it who must sign.
func NewEnvelope(body []byte) (*Envelope, error) {
	body = bytes.Clone(body)
	parsed, err := decodeMessage(body)
	if err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	return &Envelope{
		message:    body,
		parsed:     parsed,
		signers:    parsed.keys[:parsed.signers],
		signatures: map[Address]Signature{},
	}, nil
}

// OpenEnvelope reads a complete transaction, byte for byte, and verifies every signature on it.
func OpenEnvelope(raw []byte) (*Envelope, error) {
	_, signatures, body, err := decodeTransaction(raw)
	if err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	envelope, err := NewEnvelope(body)
	if err != nil {
		return nil, err
	}
	for i, signature := range signatures {
		if err := envelope.Add(envelope.signers[i], signature); err != nil {
			return nil, fmt.Errorf("open envelope: %w", err)
		}
	}
	return envelope, nil
}

// ReadEnvelope reads a transaction without regard to its signatures: what it would do, whoever signed it.
func ReadEnvelope(raw []byte) (*Envelope, error) {
	_, _, body, err := decodeTransaction(raw)
	if err != nil {
		return nil, fmt.Errorf("read envelope: %w", err)
	}
	return NewEnvelope(body)
}

// Message returns the bytes to sign.
func (e *Envelope) Message() []byte { return bytes.Clone(e.message) }

// Signers returns who must sign, the payer first.
func (e *Envelope) Signers() []Address { return append([]Address(nil), e.signers...) }

// Instructions returns what the message asks for, with what it lets each account do. The tables are those that the message looks
// accounts up in, as the chain has them; one that is missing or too short is an error.
func (e *Envelope) Instructions(tables ...LookupTable) ([]Instruction, error) {
	metas, err := e.parsed.metas(tables)
	if err != nil {
		return nil, fmt.Errorf("read instructions: %w", err)
	}
	instructions := make([]Instruction, 0, len(e.parsed.instructions))
	for _, compiled := range e.parsed.instructions {
		instruction := Instruction{Program: metas[compiled.program].Address, Data: bytes.Clone(compiled.data)}
		for _, index := range compiled.accounts {
			instruction.Accounts = append(instruction.Accounts, metas[index])
		}
		instructions = append(instructions, instruction)
	}
	return instructions, nil
}

// Spelled returns what the message asks for as far as it says so itself: an account that it looks up in a table is the zero address.
func (e *Envelope) Spelled() []Instruction {
	instructions := make([]Instruction, 0, len(e.parsed.instructions))
	for _, compiled := range e.parsed.instructions {
		instruction := Instruction{Program: e.parsed.keys[compiled.program], Data: bytes.Clone(compiled.data)}
		for _, index := range compiled.accounts {
			meta := Meta{}
			if index < len(e.parsed.keys) {
				meta = e.parsed.spelled(index)
			}
			instruction.Accounts = append(instruction.Accounts, meta)
		}
		instructions = append(instructions, instruction)
	}
	return instructions
}

// Blockhash returns the blockhash that the message was compiled under.
func (e *Envelope) Blockhash() Hash { return e.parsed.blockhash }

// Calls returns what the message asks for. It is an error if accounts are named by lookup tables, which only the chain can resolve.
func (e *Envelope) Calls() ([]Call, error) {
	if e.parsed.lookedUp() > 0 {
		return nil, fmt.Errorf("%w: accounts are in lookup tables", ErrMalformed)
	}
	var calls []Call
	for _, instruction := range e.parsed.instructions {
		call, err := resolve(e.parsed.keys, instruction, 1)
		if err != nil {
			return nil, err
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// Add stores a signature after verifying it, so that a peer cannot plant a wrong one.
func (e *Envelope) Add(signer Address, signature Signature) error {
	required := false
	for _, address := range e.signers {
		required = required || address == signer
	}
	if !required {
		return fmt.Errorf("add signature: %s is not a signer", signer)
	}
	if !ed25519.Verify(signer[:], e.message, signature[:]) {
		return fmt.Errorf("add signature: not a signature of %s", signer)
	}
	e.signatures[signer] = signature
	return nil
}

// ID returns the signature that names the transaction, once its payer signed.
func (e *Envelope) ID() (Signature, bool) {
	signature, ok := e.signatures[e.signers[0]]
	return signature, ok
}

// Bytes returns the transaction as it is sent. It is an error if a signature is missing or the network would not carry it.
func (e *Envelope) Bytes() ([]byte, error) {
	raw := appendLength(nil, len(e.signers))
	for _, signer := range e.signers {
		signature, ok := e.signatures[signer]
		if !ok {
			return nil, fmt.Errorf("encode transaction: signature of %s is missing", signer)
		}
		raw = append(raw, signature[:]...)
	}
	return e.finish(raw)
}

// Unsigned returns the transaction with empty signatures, for a simulation that does not verify them.
func (e *Envelope) Unsigned() ([]byte, error) {
	raw := appendLength(nil, len(e.signers))
	return e.finish(append(raw, make([]byte, signatureSize*len(e.signers))...))
}

func (e *Envelope) finish(raw []byte) ([]byte, error) {
	raw = append(raw, e.message...)
	if len(raw) > MaxTransactionSize {
		return nil, fmt.Errorf("encode transaction: %w: %d bytes", ErrTooBig, len(raw))
	}
	return raw, nil
}
