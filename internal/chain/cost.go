// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// What the chain charges: https://solana.com/docs/core/fees and https://solana.com/docs/core/accounts#rent
const (
	lamportsPerSignature = 5_000
	microLamports        = 1_000_000 // of one lamport
	mostUnits            = 1_400_000 // that one transaction can compute
	rentPerByte          = 6_960     // for as long as an account may stand
	rentOverhead         = 128       // bytes that every account is charged for besides its data
)

var errCost = errors.New("lamports beyond counting")

// Rent is what an account with so many bytes of data must hold to stay, in lamports.
func Rent(size uint64) uint64 { return (size + rentOverhead) * rentPerByte }

// Cost adds up the most lamports that a transaction can take from the wallet that pays for it, besides what it transfers.
type Cost struct {
	units *uint32
	price *uint64
	rents uint64
}

// Budget takes in an instruction of the compute budget program, which is a limit of units or a price for them, and returns it as it is built. It
// refuses any other, and a second one of the same kind.
func (c *Cost) Budget(call Call) (Instruction, error) {
	data := call.Data
	switch {
	case len(call.Accounts) > 0:
		return Instruction{}, errors.New("a compute budget in another form")
	case len(data) == 5 && data[0] == setComputeUnitLimit && c.units == nil:
		c.units = new(binary.LittleEndian.Uint32(data[1:]))
	case len(data) == 9 && data[0] == setComputeUnitPrice && c.price == nil:
		c.price = new(binary.LittleEndian.Uint64(data[1:]))
	default:
		return Instruction{}, errors.New("a compute budget in another form")
	}
	return Instruction{Program: call.Program, Data: data}, nil
}

// Rent takes in an account of a size that the transaction may make.
func (c *Cost) Rent(size uint64) error {
	sum, carry := bits.Add64(c.rents, Rent(size), 0)
	if carry > 0 {
		return errCost
	}
	c.rents = sum
	return nil
}

// Total is the sum for a transaction with so many signatures, those that it has programs check among them.
func (c *Cost) Total(signatures uint64) (uint64, error) {
	priority, err := c.priority()
	if err != nil {
		return 0, err
	}
	overflow, fees := bits.Mul64(signatures, lamportsPerSignature)
	sum, first := bits.Add64(c.rents, fees, 0)
	sum, second := bits.Add64(sum, priority, 0)
	if overflow+first+second > 0 {
		return 0, errCost
	}
	return sum, nil
}

// priority is the priority fee, rounded up.
func (c *Cost) priority() (uint64, error) {
	if c.price == nil {
		return 0, nil
	}
	units := uint64(mostUnits)
	if c.units != nil {
		units = min(units, uint64(*c.units))
	}
	high, low := bits.Mul64(*c.price, units)
	if high >= microLamports {
		return 0, errors.New("a priority fee beyond counting")
	}
	fee, rest := bits.Div64(high, low, microLamports)
	if rest > 0 {
		fee++
	}
	return fee, nil
}
