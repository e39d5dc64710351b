// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
)

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

// Instructions of the compute budget program.
const (
	setUnitLimit = 2
	setUnitPrice = 3
)

// createIdempotent is the associated token program's instruction that makes an account or leaves the one that is there.
const createIdempotent = 1

// role is one account of an instruction: what the instruction may do with it, and which it is if that is always the same one.
type role struct {
	signer, writable bool
	always           bool
	address          chain.Address
}

// form is how an instruction is laid out: its accounts in order, and the size of its data. What is built and what is read again follow
// the same forms.
type form struct {
	roles []role
	size  int
}

// formOf returns the form of one of the program's instructions, or false for an instruction that it does not have.
func formOf(op byte) (form, bool) {
	payer, signs, writes, reads := role{signer: true, writable: true}, role{signer: true}, role{writable: true}, role{}
	token := fixed(chain.TokenProgram)
	switch op {
	case opOpen: // buyer, lease, vault, mint, buyer's tokens, supplier, treasury, arbiter, config
		return form{[]role{payer, writes, writes, reads, writes, reads, reads, reads, reads, fixed(chain.SystemProgram), token}, 64}, true
	case opClaim: // submitter, lease, vault, mint, supplier's tokens, treasury's tokens
		return form{[]role{signs, writes, writes, writes, writes, writes, fixed(chain.InstructionsSysvar), token}, 9}, true
	case opClose: // submitter, lease, vault, mint, buyer's tokens, buyer
		return form{[]role{signs, writes, writes, reads, writes, writes, token}, 1}, true
	case opTopUp: // buyer, lease, vault, mint, buyer's tokens
		return form{[]role{signs, writes, writes, reads, writes, token}, 9}, true
	case opExtend, opDispute: // buyer or supplier, lease
		return form{[]role{signs, writes}, 9}, true
	case opAward: // arbiter, lease, vault, mint, supplier's tokens, treasury's tokens
		return form{[]role{signs, writes, writes, writes, writes, writes, token}, 9}, true
	case opCreateConfig: // authority, config, mint
		return form{[]role{payer, writes, reads, fixed(chain.SystemProgram)}, 1 + 4 + termsSize + 1}, true
	case opProposeConfig: // authority, config
		return form{[]role{signs, writes}, 1 + termsSize}, true
	case opApplyConfig: // config
		return form{[]role{writes}, 1}, true
	default:
		return form{}, false
	}
}

// createForm is the form of the instruction that makes an associated token account: payer, account, wallet, mint.
func createForm() form {
	return form{[]role{
		{signer: true, writable: true}, {writable: true}, {}, {}, fixed(chain.SystemProgram), fixed(chain.TokenProgram),
	}, 1}
}

func fixed(address chain.Address) role { return role{always: true, address: address} }

// build lays out an instruction. The addresses are those that the form does not fix.
func (f form) build(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	built := chain.Instruction{Program: program, Data: data}
	for _, role := range f.roles {
		meta := chain.Meta{Address: role.address, Signer: role.signer, Writable: role.writable}
		if !role.always {
			meta.Address, addresses = addresses[0], addresses[1:]
		}
		built.Accounts = append(built.Accounts, meta)
	}
	return built
}

// read returns the addresses that the form does not fix, or false if the call has another form.
func (f form) read(call chain.Call) ([]chain.Address, bool) {
	if len(call.Data) != f.size || len(call.Accounts) != len(f.roles) {
		return nil, false
	}
	var addresses []chain.Address
	for i, role := range f.roles {
		if role.always && call.Accounts[i] != role.address {
			return nil, false
		}
		if !role.always {
			addresses = append(addresses, call.Accounts[i])
		}
	}
	return slices.Clip(addresses), true
}

// instruction builds one of the program's instructions, whose data begins with its number.
func instruction(program chain.Address, data []byte, addresses ...chain.Address) chain.Instruction {
	form, _ := formOf(data[0]) // every number that this package writes has a form
	return form.build(program, data, addresses...)
}
