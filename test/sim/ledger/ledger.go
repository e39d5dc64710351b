// SPDX-License-Identifier: Apache-2.0

// Package ledger puts money on the fake chain: token accounts and mints, and the lease program with its whole rules, so that a
// simulation can count what everybody has. The real program is tested on a real runtime; test/fakeprogram is the part of it that
// controllers' tests need.
package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/money"
)

// Layouts and prices of the Token program's accounts.
const (
	mintSize, tokensSize = 82, 165
	amountAt, stateAt    = 64, 108
	supplyAt             = 36
	stateOpen            = 1
	stateFrozen          = 2
	rent                 = 2_000_000 // lamports that an account holds

	codeFunds  = 1  // the Token and System programs: not enough
	codeFrozen = 17 // the Token program: the account is frozen
)

// Rules are the program's, or one that is wrong in a known way.
type Rules struct {
	// Forgetful pays each claim's period again whenever it is claimed again, as plain transfers would: no account is the receipt.
	Forgetful bool
}

// Install adds the programs that the money needs.
func Install(on *chaintest.Fake, program chain.Address, rules Rules) {
	p := &lease{program: program, rules: rules, again: map[again]money.Amount{}}
	on.Native(program, p.run)
	on.Native(chain.Ed25519Program, checkSignature)
	on.Native(chain.AssociatedProgram, associate)
	on.Set(chain.Account{Address: program, Executable: true, Lamports: rent})
}

// Mint makes a mint of which so much exists in the wallet's token account.
func Mint(on *chaintest.Fake, mint chain.Address, decimals uint8, wallet chain.Address, supply money.Amount) error {
	data := make([]byte, mintSize)
	binary.LittleEndian.PutUint64(data[supplyAt:], uint64(supply))
	data[44], data[45] = decimals, 1
	on.Set(chain.Account{Address: mint, Owner: chain.TokenProgram, Lamports: rent, Data: data})
	return Give(on, mint, wallet, supply)
}

// Give puts tokens that count as minted already into the wallet's token account.
func Give(on *chaintest.Fake, mint, wallet chain.Address, amount money.Amount) error {
	address, err := chain.TokenAddress(wallet, mint)
	if err != nil {
		return err
	}
	on.Set(tokens(address, mint, wallet, amount))
	return nil
}

func tokens(address, mint, owner chain.Address, amount money.Amount) chain.Account {
	data := make([]byte, tokensSize)
	copy(data, mint[:])
	copy(data[32:], owner[:])
	binary.LittleEndian.PutUint64(data[amountAt:], uint64(amount))
	data[stateAt] = stateOpen
	return chain.Account{Address: address, Exists: true, Owner: chain.TokenProgram, Lamports: rent, Data: data}
}

// Freeze makes a token account unusable, as its issuer may, or usable again. It says whether there is one.
func Freeze(on *chaintest.Fake, address chain.Address, frozen bool) bool {
	account := find(on, address)[address]
	if !isTokens(account) {
		return false
	}
	data := append([]byte(nil), account.Data...)
	data[stateAt] = stateOpen
	if frozen {
		data[stateAt] = stateFrozen
	}
	account.Data = data
	on.Set(account)
	return true
}

// find returns those of the accounts that are there.
func find(on *chaintest.Fake, addresses ...chain.Address) map[chain.Address]chain.Account {
	found := map[chain.Address]chain.Account{}
	on.Walk(func(account chain.Account) {
		if slices.Contains(addresses, account.Address) {
			found[account.Address] = account
		}
	})
	return found
}

// Holding is what one token account, or one mint, has.
type Holding struct {
	Address, Mint, Owner chain.Address
	Amount               money.Amount
}

// Count returns what each token account holds, and how much of each mint exists.
func Count(on *chaintest.Fake) (held []Holding, supply map[chain.Address]money.Amount) {
	supply = map[chain.Address]money.Amount{}
	on.Walk(func(account chain.Account) {
		switch {
		case isTokens(account):
			held = append(held, Holding{
				Address: account.Address, Mint: chain.Address(account.Data[:32]), Owner: chain.Address(account.Data[32:64]), Amount: balance(account),
			})
		case account.Owner == chain.TokenProgram && len(account.Data) == mintSize:
			supply[account.Address] = money.Amount(binary.LittleEndian.Uint64(account.Data[supplyAt:]))
		}
	})
	return held, supply
}

func isTokens(account chain.Account) bool {
	return account.Owner == chain.TokenProgram && len(account.Data) == tokensSize
}

func balance(account chain.Account) money.Amount {
	return money.Amount(binary.LittleEndian.Uint64(account.Data[amountAt:]))
}

// checkSignature is the Ed25519 program for one signature whose parts are in the instruction itself.
func checkSignature(_ *chaintest.Run, call chain.Call, _ map[chain.Address]chain.Account) *chain.Failure {
	const key, signature, message = 16, 48, 112
	data := call.Data
	if len(data) <= message || !ed25519.Verify(data[key:signature], data[message:], data[signature:message]) {
		return &chain.Failure{Detail: "InvalidAccountData"}
	}
	return nil
}

// associate is the associated token program: it makes an account, or leaves the one that is there.
func associate(_ *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	payer, address, wallet, mint := call.Accounts[0], call.Accounts[1], call.Accounts[2], call.Accounts[3]
	if found := accounts[address]; isTokens(found) {
		return nil
	}
	if failure := spend(accounts, payer, rent); failure != nil {
		return failure
	}
	accounts[address] = tokens(address, mint, wallet, 0)
	return nil
}

// spend takes lamports from a wallet.
func spend(accounts map[chain.Address]chain.Account, from chain.Address, lamports uint64) *chain.Failure {
	account := accounts[from]
	if account.Lamports < lamports {
		return custom(codeFunds)
	}
	account.Lamports -= lamports
	accounts[from] = account
	return nil
}

// transfer moves tokens, and notes the call. Nothing is no call.
func transfer(run *chaintest.Run, accounts map[chain.Address]chain.Account, from, mint, to, by chain.Address, amount money.Amount) *chain.Failure {
	if amount == 0 {
		return nil
	}
	source, target := accounts[from], accounts[to]
	switch {
	case !isTokens(source) || !isTokens(target):
		return &chain.Failure{Detail: "InvalidAccountData"}
	case source.Data[stateAt] == stateFrozen || target.Data[stateAt] == stateFrozen:
		return custom(codeFrozen)
	case balance(source) < amount:
		return custom(codeFunds)
	}
	accounts[from] = with(source, balance(source)-amount)
	accounts[to] = with(accounts[to], balance(accounts[to])+amount)
	run.Made(tokenCall(12, amount, 10, from, mint, to, by))
	return nil
}

// burn destroys tokens, and notes the call.
func burn(run *chaintest.Run, accounts map[chain.Address]chain.Account, from, mint, by chain.Address, amount money.Amount) *chain.Failure {
	if amount == 0 {
		return nil
	}
	source := accounts[from]
	if balance(source) < amount {
		return custom(codeFunds)
	}
	accounts[from] = with(source, balance(source)-amount)
	of := accounts[mint]
	data := append([]byte(nil), of.Data...)
	binary.LittleEndian.PutUint64(data[supplyAt:], binary.LittleEndian.Uint64(data[supplyAt:])-uint64(amount))
	of.Data = data
	accounts[mint] = of
	run.Made(tokenCall(15, amount, 10, from, mint, by))
	return nil
}

func with(account chain.Account, amount money.Amount) chain.Account {
	account.Data = append([]byte(nil), account.Data...)
	binary.LittleEndian.PutUint64(account.Data[amountAt:], uint64(amount))
	return account
}

func tokenCall(op byte, amount money.Amount, size int, accounts ...chain.Address) chain.Call {
	data := make([]byte, size)
	data[0] = op
	if size == 10 {
		binary.LittleEndian.PutUint64(data[1:], uint64(amount))
	}
	return chain.Call{Program: chain.TokenProgram, Accounts: accounts, Data: data}
}

func custom(code uint32) *chain.Failure { return &chain.Failure{Detail: "Custom", Code: code} }

// Dust adds tokens to an account out of another one, as strangers do, and says whether it could.
func Dust(on *chaintest.Fake, from, to chain.Address, amount money.Amount) bool {
	state := find(on, from, to)
	if !isTokens(state[from]) || !isTokens(state[to]) || transfer(&chaintest.Run{}, state, from, chain.Address{}, to, from, amount) != nil {
		return false
	}
	on.Set(state[from])
	on.Set(state[to])
	return true
}
