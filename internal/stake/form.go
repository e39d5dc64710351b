// SPDX-License-Identifier: Apache-2.0

package stake

import "github.com/bourse-dev/bourse/internal/chain"

// The program's instructions for stakes and rewards.
const (
	opCreatePool    = 16
	opBond          = 17
	opUnbond        = 18
	opWithdraw      = 19
	opProposeSlash  = 20
	opAppeal        = 21
	opExecuteSlash  = 22
	opDropSlash     = 23
	opCreateRewards = 32
	opPostRewards   = 33
	opClaimReward   = 34
)

// formOf returns the form of one of the program's instructions for stakes and rewards, or false for any other.
func formOf(op byte) (chain.Form, bool) {
	found, ok := map[byte]chain.Form{
		opCreatePool:    {Accounts: "PrWWrst", Size: 3},               // owner, config, pool, vault, mint
		opBond:          {Accounts: "PrWWWrWst", Size: 10},            // staker, config, pool, position, vault, mint, staker's tokens
		opUnbond:        {Accounts: "SrWW", Size: 9},                  // staker, config, pool, position
		opWithdraw:      {Accounts: "SWWWrWt", Size: 1},               // staker, pool, position, vault, mint, staker's tokens
		opProposeSlash:  {Accounts: "SrW", Size: 42},                  // authority, config, pool
		opAppeal:        {Accounts: "SW", Size: 5},                    // owner, pool
		opExecuteSlash:  {Accounts: "SWWWt", Size: 5},                 // submitter, pool, vault, mint
		opDropSlash:     {Accounts: "SrW", Size: 5},                   // submitter, config, pool
		opCreateRewards: {Accounts: "PrWWrst", Size: 3},               // authority, config, rewards, vault, mint
		opPostRewards:   {Accounts: "SrWr", Size: 49},                 // authority, config, rewards, vault
		opClaimReward:   {Accounts: "PWWWrWrst", Size: chain.AnySize}, // submitter, rewards, vault, receipt, wallet, wallet's tokens, mint
	}[op]
	return found, ok
}

// instruction builds one of the program's instructions, whose data begins with its number.
func instruction(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	found, _ := formOf(data[0]) // every number that this package writes has a form
	return found.Build(program, data, addresses...)
}
