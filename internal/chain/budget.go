// SPDX-License-Identifier: Apache-2.0

package chain

import "encoding/binary"

// setComputeUnitLimit is the compute budget program's instruction of that name.
const setComputeUnitLimit = 2

// ComputeLimit returns the instruction that caps what the transaction may compute, in compute units.
func ComputeLimit(units uint32) Instruction {
	return Instruction{
		Program: ComputeBudgetProgram,
		Data:    binary.LittleEndian.AppendUint32([]byte{setComputeUnitLimit}, units),
	}
}
