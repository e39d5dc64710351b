// SPDX-License-Identifier: Apache-2.0

package chain

import "encoding/binary"

// The compute budget program's instructions of these names.
const (
	setComputeUnitLimit = 2
	setComputeUnitPrice = 3
)

// ComputeLimit returns the instruction that caps what the transaction may compute, in compute units.
func ComputeLimit(units uint32) Instruction {
	return Instruction{
		Program: ComputeBudgetProgram,
		Data:    binary.LittleEndian.AppendUint32([]byte{setComputeUnitLimit}, units),
	}
}
