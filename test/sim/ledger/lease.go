// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Layout of a lease account.
const (
	leaseSize            = 256
	markOpen, markClosed = "bourse2\x01", "bourse2\x02"
	leaseRent            = 2 * rent

	buyerAt, supplierAt, treasuryAt, mintAt = 8, 40, 104, 136
	depositAt, paidAt, deadlineAt, feesAt   = 200, 208, 216, 224
	capAt, delayAt, disputedAtAt, disputeAt = 234, 236, 240, 248
)

// again names a claim that was paid.
type again struct {
	lease chain.Address
	gross money.Amount
}

// lease is the lease program.
type lease struct {
	program chain.Address
	rules   Rules
	again   map[again]money.Amount // Forgetful: what was paid before each claim
}

// Record is what a lease account says.
type Record struct {
	Closed                          bool
	Buyer, Supplier, Treasury, Mint chain.Address
	Deposit, Paid                   money.Amount
	Deadline                        int64
	Fees                            money.Fees
}

// Read reads a lease account, and says whether it is one.
func Read(account chain.Account) (Record, bool) {
	data := account.Data
	if len(data) != leaseSize {
		return Record{}, false
	}
	number := binary.LittleEndian.Uint64
	fee := binary.LittleEndian.Uint16
	return Record{
		Closed:   string(data[:8]) == markClosed,
		Buyer:    chain.Address(data[buyerAt : buyerAt+32]),
		Supplier: chain.Address(data[supplierAt : supplierAt+32]),
		Treasury: chain.Address(data[treasuryAt : treasuryAt+32]),
		Mint:     chain.Address(data[mintAt : mintAt+32]),
		Deposit:  money.Amount(number(data[depositAt:])),
		Paid:     money.Amount(number(data[paidAt:])),
		Deadline: int64(number(data[deadlineAt:])),
		Fees:     money.Fees{BuyerBps: fee(data[feesAt:]), SupplierBps: fee(data[feesAt+2:]), BurnBps: fee(data[feesAt+4:])},
	}, true
}

func (p *lease) run(run *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	if len(call.Data) == 0 || len(call.Accounts) < 2 {
		return custom(escrow.CodeArgument)
	}
	if !slices.Contains(run.Signers, call.Accounts[0]) {
		return custom(escrow.CodeSigner)
	}
	switch call.Data[0] {
	case 0:
		return p.open(run, call, accounts)
	case 1:
		return p.claim(run, call, accounts)
	case 2:
		return p.close(run, call, accounts)
	case 5:
		return p.dispute(run, call, accounts)
	default:
		return custom(escrow.CodeArgument)
	}
}

// dispute notes what the supplier says it is owed, once, and holds the deposit for its time.
func (p *lease) dispute(run *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	record, open := openLease(call, accounts)
	account := accounts[call.Accounts[1]]
	switch {
	case !open:
		return custom(escrow.CodeState)
	case call.Accounts[0] != record.Supplier:
		return custom(escrow.CodeSigner)
	case binary.LittleEndian.Uint16(account.Data[capAt:]) == 0 || binary.LittleEndian.Uint64(account.Data[disputedAtAt:]) != 0:
		return custom(escrow.CodeDispute)
	case run.Time.Unix() > record.Deadline:
		return custom(escrow.CodeTime)
	}
	account.Data = append([]byte(nil), account.Data...)
	binary.LittleEndian.PutUint64(account.Data[disputedAtAt:], uint64(run.Time.Unix()))
	copy(account.Data[disputeAt:], call.Data[1:9])
	accounts[call.Accounts[1]] = account
	return nil
}

// held says whether an open dispute keeps others than the supplier from closing the lease.
func held(data []byte, now int64) bool {
	const delays = 2
	since := int64(binary.LittleEndian.Uint64(data[disputedAtAt:]))
	return binary.LittleEndian.Uint64(data[disputeAt:]) > 0 && now < since+delays*int64(binary.LittleEndian.Uint32(data[delayAt:]))
}

// open makes the lease and its vault. Lamports may be at their addresses already.
func (p *lease) open(run *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	const accountsOfOpen = 11
	if len(call.Accounts) != accountsOfOpen {
		return custom(escrow.CodeArgument)
	}
	buyer, at, vault, mint, from := call.Accounts[0], call.Accounts[1], call.Accounts[2], call.Accounts[3], call.Accounts[4]
	supplier, treasury, arbiter := call.Accounts[5], call.Accounts[6], call.Accounts[7]
	in := call.Data[1:]
	id, deposit, deadline, fees, arbitration, bumps := in[:32], in[32:40], in[40:48], in[48:54], in[54:60], in[60:]
	if len(accounts[at].Data) > 0 || len(accounts[vault].Data) > 0 {
		return custom(escrow.CodeState)
	}
	if int64(binary.LittleEndian.Uint64(deadline)) <= run.Time.Unix() {
		return custom(escrow.CodeTime)
	}
	if !isTokens(accounts[from]) || !bytes.Equal(accounts[from].Data[:32], mint[:]) {
		return custom(escrow.CodeMint)
	}
	if failure := spend(accounts, buyer, leaseRent+rent); failure != nil {
		return failure
	}
	data := append(make([]byte, 0, leaseSize), markOpen...)
	for _, field := range [][]byte{
		buyer[:], supplier[:], arbiter[:], treasury[:], mint[:], id, deposit, make([]byte, 8), deadline, fees, bumps, {2}, arbitration,
	} {
		data = append(data, field...)
	}
	accounts[at] = chain.Account{
		Address: at, Exists: true, Owner: p.program, Lamports: leaseRent + accounts[at].Lamports, Data: append(data, make([]byte, leaseSize-len(data))...),
	}
	box := tokens(vault, mint, at, 0)
	box.Lamports += accounts[vault].Lamports
	accounts[vault] = box
	run.Made(tokenCall(18, 0, 33, vault, mint))
	return transfer(run, accounts, from, mint, vault, buyer, money.Amount(binary.LittleEndian.Uint64(deposit)))
}

// openLease returns the open lease that a call is about.
func openLease(call chain.Call, accounts map[chain.Address]chain.Account) (Record, bool) {
	record, ok := Read(accounts[call.Accounts[1]])
	return record, ok && !record.Closed
}

// claim pays what the voucher in the instruction before adds to what was paid.
func (p *lease) claim(run *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	at, vault, mint, supplier, treasury := call.Accounts[1], call.Accounts[2], call.Accounts[3], call.Accounts[4], call.Accounts[5]
	record, open := openLease(call, accounts)
	gross := money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	switch {
	case !open:
		return custom(escrow.CodeState)
	case mint != record.Mint:
		return custom(escrow.CodeMint)
	case !ownedBy(accounts[supplier], record.Supplier) || !ownedBy(accounts[treasury], record.Treasury):
		return custom(escrow.CodeParty)
	case !p.rules.Forgetful && gross <= record.Paid:
		return custom(escrow.CodeAmount)
	case !vouched(run, escrow.VoucherMessage(p.program, at, gross), record.Buyer):
		return custom(escrow.CodeVoucher)
	}
	due, ok := p.due(at, record, gross)
	if !ok {
		return custom(escrow.CodeAmount)
	}
	data := append([]byte(nil), accounts[at].Data...)
	binary.LittleEndian.PutUint64(data[paidAt:], uint64(max(gross, record.Paid)))
	account := accounts[at]
	account.Data = data
	accounts[at] = account
	for _, pay := range []struct {
		to     chain.Address
		amount money.Amount
	}{{supplier, due.Supplier}, {treasury, due.Treasury}} {
		if failure := transfer(run, accounts, vault, mint, pay.to, at, pay.amount); failure != nil {
			return failure
		}
	}
	return burn(run, accounts, vault, mint, at, due.Burn)
}

// due returns what a claim pays.
func (p *lease) due(at chain.Address, record Record, gross money.Amount) (money.Split, bool) {
	base := record.Paid
	if p.rules.Forgetful {
		if before, ok := p.again[again{at, gross}]; ok {
			base = before
		}
		p.again[again{at, gross}] = base
	}
	before, errBefore := record.Fees.Split(base)
	now, errNow := record.Fees.Split(gross)
	due, errDue := now.Sub(before)
	return due, errBefore == nil && errNow == nil && errDue == nil && now.Debit <= record.Deposit
}

// vouched says whether the instruction before proves the buyer's signature over the message.
func vouched(run *chaintest.Run, message []byte, buyer chain.Address) bool {
	const key, signature, body = 16, 48, 112
	if run.Index == 0 {
		return false
	}
	before := run.Calls[run.Index-1]
	return before.Program == chain.Ed25519Program && len(before.Data) > body &&
		bytes.Equal(before.Data[key:signature], buyer[:]) && bytes.Equal(before.Data[body:], message)
}

func ownedBy(account chain.Account, wallet chain.Address) bool {
	return isTokens(account) && bytes.Equal(account.Data[32:64], wallet[:])
}

// close gives the vault's whole balance back to the buyer: by the supplier at any time, by anybody after the deadline.
func (p *lease) close(run *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	submitter, at, vault, mint, to, buyer := call.Accounts[0], call.Accounts[1], call.Accounts[2], call.Accounts[3], call.Accounts[4], call.Accounts[5]
	record, open := openLease(call, accounts)
	switch {
	case !open:
		return custom(escrow.CodeState)
	case mint != record.Mint:
		return custom(escrow.CodeMint)
	case buyer != record.Buyer || !ownedBy(accounts[to], record.Buyer):
		return custom(escrow.CodeParty)
	case submitter != record.Supplier && run.Time.Unix() <= record.Deadline:
		return custom(escrow.CodeTime)
	case submitter != record.Supplier && held(accounts[at].Data, run.Time.Unix()):
		return custom(escrow.CodeHeld)
	}
	if failure := transfer(run, accounts, vault, mint, to, at, balance(accounts[vault])); failure != nil {
		return failure
	}
	data := append([]byte(nil), accounts[at].Data...)
	copy(data, markClosed)
	account := accounts[at]
	account.Data = data
	accounts[at] = account
	payer := accounts[buyer]
	payer.Address, payer.Exists, payer.Lamports = buyer, true, payer.Lamports+accounts[vault].Lamports
	accounts[buyer] = payer
	delete(accounts, vault)
	run.Made(tokenCall(9, 0, 1, vault, buyer, at))
	return nil
}
