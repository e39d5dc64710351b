// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
)

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

// createIdempotent is the associated token program's instruction that makes an account or leaves the one that is there.
const createIdempotent = 1

// What an instruction may do with an account, one letter for each in a form.
const (
	pays    = 'P' // signs and pays
	signs   = 'S'
	writes  = 'W'
	reads   = 'r'
	system  = 's' // the System program
	token   = 't' // the Token program
	anySize = -1
)

// form is how an instruction is laid out: a letter for each of its accounts, and the size of its data. What is built and what is read
// again follow the same forms.
type form struct {
	accounts string
	size     int
}

// formOf returns the form of one of the program's instructions for stakes and rewards, or false for any other.
func formOf(op byte) (form, bool) {
	found, ok := map[byte]form{
		opCreatePool:    {"PrWWrst", 3},         // owner, config, pool, vault, mint
		opBond:          {"PrWWWrWst", 10},      // staker, config, pool, position, vault, mint, staker's tokens
		opUnbond:        {"SrWW", 9},            // staker, config, pool, position
		opWithdraw:      {"SWWWrWt", 1},         // staker, pool, position, vault, mint, staker's tokens
		opProposeSlash:  {"SrW", 42},            // authority, config, pool
		opAppeal:        {"SW", 5},              // owner, pool
		opExecuteSlash:  {"SWWWt", 5},           // submitter, pool, vault, mint
		opDropSlash:     {"SrW", 5},             // submitter, config, pool
		opCreateRewards: {"PrWWrst", 3},         // authority, config, rewards, vault, mint
		opPostRewards:   {"SrWr", 49},           // authority, config, rewards, vault
		opClaimReward:   {"PWWWrWrst", anySize}, // submitter, rewards, vault, receipt, wallet, wallet's tokens, mint
	}[op]
	return found, ok
}

// createForm is the form of the instruction that makes an associated token account: payer, account, wallet, mint.
func createForm() form { return form{"PWrrst", 1} }

// build lays out an instruction. The addresses are those of the accounts that are no programs.
func (f form) build(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	built := chain.Instruction{Program: program, Data: data}
	for _, role := range f.accounts {
		meta := chain.Meta{Signer: role == pays || role == signs, Writable: role == pays || role == writes}
		switch role {
		case system:
			meta.Address = chain.SystemProgram
		case token:
			meta.Address = chain.TokenProgram
		default:
			meta.Address, addresses = addresses[0], addresses[1:]
		}
		built.Accounts = append(built.Accounts, meta)
	}
	return built
}

// read returns the addresses of the accounts that are no programs, or false if the call has another form.
func (f form) read(call chain.Call) ([]chain.Address, bool) {
	if f.size != anySize && len(call.Data) != f.size || len(call.Accounts) != len(f.accounts) {
		return nil, false
	}
	var addresses []chain.Address
	for i, role := range f.accounts {
		switch {
		case role == system && call.Accounts[i] != chain.SystemProgram, role == token && call.Accounts[i] != chain.TokenProgram:
			return nil, false
		case role != system && role != token:
			addresses = append(addresses, call.Accounts[i])
		}
	}
	return slices.Clip(addresses), true
}

// instruction builds one of the program's instructions, whose data begins with its number.
func instruction(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	found, _ := formOf(data[0]) // every number that this package writes has a form
	return found.build(program, data, addresses...)
}

// tokensOf returns a wallet's associated token account and the instruction that makes it if it is missing.
func tokensOf(payer, wallet, mint chain.Address) (chain.Address, chain.Instruction, error) {
	tokens, err := chain.TokenAddress(wallet, mint)
	if err != nil {
		return chain.Address{}, chain.Instruction{}, err
	}
	return tokens, createForm().build(chain.AssociatedProgram, []byte{createIdempotent}, payer, tokens, wallet, mint), nil
}
