// SPDX-License-Identifier: Apache-2.0

package escrow

import "github.com/bourse-dev/bourse/internal/chain"

// The program's instructions.
const (
	opOpen          = 0
	opClaim         = 1
	opClose         = 2
	opTopUp         = 3
	opExtend        = 4
	opDispute       = 5
	opAward         = 6
	opCreateConfig  = 7
	opProposeConfig = 8
	opApplyConfig   = 9
)

// formOf returns the form of one of the program's instructions, or false for an instruction that it does not have.
func formOf(op byte) (chain.Form, bool) {
	found, ok := map[byte]chain.Form{
		opOpen:          {Accounts: "PWWrWrrrrst", Size: 64},             // buyer, lease, vault, mint, buyer's tokens, supplier, treasury, arbiter, config
		opClaim:         {Accounts: "SWWWWWit", Size: 9},                 // submitter, lease, vault, mint, supplier's tokens, treasury's tokens
		opClose:         {Accounts: "SWWrWWt", Size: 1},                  // submitter, lease, vault, mint, buyer's tokens, buyer
		opTopUp:         {Accounts: "SWWrWt", Size: 9},                   // buyer, lease, vault, mint, buyer's tokens
		opExtend:        {Accounts: "SW", Size: 9},                       // buyer, lease
		opDispute:       {Accounts: "SW", Size: 9},                       // supplier, lease
		opAward:         {Accounts: "SWWWWWt", Size: 9},                  // arbiter, lease, vault, mint, supplier's tokens, treasury's tokens
		opCreateConfig:  {Accounts: "PWrs", Size: 1 + 4 + termsSize + 1}, // authority, config, mint
		opProposeConfig: {Accounts: "SW", Size: 1 + termsSize},           // authority, config
		opApplyConfig:   {Accounts: "W", Size: 1},                        // config
	}[op]
	return found, ok
}

// instruction builds one of the program's instructions, whose data begins with its number.
func instruction(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	form, _ := formOf(data[0]) // every number that this package writes has a form
	return form.Build(program, data, addresses...)
}
