// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// ErrMessage says that a message is not one that this package builds, so that nobody should sign it.
var ErrMessage = errors.New("message is not understood")

// The kinds of intents besides those of movements.
const (
	KindVoucher       Kind = "Voucher" // no transaction, but a buyer's promise
	KindCreateConfig  Kind = "CreateConfig"
	KindProposeConfig Kind = "ProposeConfig"
	KindApplyConfig   Kind = "ApplyConfig"
)

// Intent is what a message would do once it is signed. What it does not say, the message cannot do: amounts are the most that can leave
// the signer's wallet, whatever the chain makes of it.
type Intent struct {
	Kind     Kind
	Program  chain.Address // the lease program
	Signer   chain.Address // the only signer, who pays the fees of the chain; zero for a voucher, which names nobody
	Lease    chain.Address // zero for what is done to a configuration
	Mint     chain.Address // zero where no tokens can move
	Config   chain.Address // Open: the market's configuration; and what is done to one
	Supplier chain.Address // Open: who is to be paid
	Arbiter  chain.Address // Open: who may award to the supplier, zero for nobody
	Tokens   money.Amount  // the most of the mint that leaves the signer's token account
	Lamports uint64        // the most lamports that leave the signer's wallet: fees, priority fee and rent
	Gross    money.Amount  // Claim, Award, Dispute, Voucher: the cumulative gross amount
	Deadline time.Time     // Open, Extend: until when the deposit may be kept
	Others   []Opening     // Open: what it opens besides; Tokens and Lamports hold all of it
}

// Opening is one more escrow that a transaction opens, in the same mint and under the same configuration.
type Opening struct {
	Lease    chain.Address
	Supplier chain.Address
	Arbiter  chain.Address // zero for nobody
	Deadline time.Time
}

// ReadMessage says what a message would do: a transaction of one signer with one instruction of one of the programs, or with several that
// open escrows together as OpenAll builds them, or a voucher for one of the programs. Anything else is an ErrMessage: another version, a second signer, an instruction that this package does not build, an
// account in another role, or bytes in another order than the compiler's.
func ReadMessage(message []byte, programs ...chain.Address) (Intent, error) {
	if bytes.HasPrefix(message, []byte(voucherTag)) {
		return readVoucher(message, programs)
	}
	if len(message) == 0 || message[0] != 1 { // a legacy message begins with how many sign it
		return Intent{}, fmt.Errorf("%w: neither a voucher nor a plain transaction of one signer", ErrMessage)
	}
	envelope, err := chain.NewEnvelope(message)
	if err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	calls, err := envelope.Calls()
	if err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	read := messageReading{programs: programs, intent: Intent{Signer: envelope.Signers()[0]}, signatures: 1}
	for _, call := range calls {
		if err := read.call(call); err != nil {
			return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
		}
	}
	if err := read.finish(); err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	compiled, err := chain.CompileMessage(read.intent.Signer, read.rebuilt, envelope.Blockhash())
	if err != nil || !bytes.Equal(compiled, message) {
		return Intent{}, fmt.Errorf("%w: accounts have other rights or another order", ErrMessage)
	}
	return read.intent, nil
}

// readVoucher reads what VoucherMessage wrote.
func readVoucher(message []byte, programs []chain.Address) (Intent, error) {
	const keys = len(voucherTag) + 2*len(chain.Address{})
	if len(message) != keys+8 {
		return Intent{}, fmt.Errorf("%w: a voucher of %d bytes", ErrMessage, len(message))
	}
	in := fields{message[len(voucherTag):]}
	intent := Intent{Kind: KindVoucher, Program: in.key(), Lease: in.key(), Gross: in.amount()}
	if !slices.Contains(programs, intent.Program) {
		return Intent{}, fmt.Errorf("%w: a voucher for the program %s", ErrMessage, intent.Program)
	}
	return intent, nil
}

// messageReading takes a message apart and builds it again.
type messageReading struct {
	programs   []chain.Address
	intent     Intent
	rebuilt    []chain.Instruction
	signatures uint64 // that the chain charges for
	cost       chain.Cost
	promise    *Intent // what the voucher check before a claim proves
	opened     []Terms // what the instructions so far open
}

// call reads one instruction.
func (r *messageReading) call(call chain.Call) error {
	switch {
	case r.intent.Kind != "" && !r.opensMore(call):
		return fmt.Errorf("an instruction follows the %s", r.intent.Kind)
	case r.promise != nil && !slices.Contains(r.programs, call.Program):
		return errors.New("the claim does not follow its voucher")
	case call.Program == chain.ComputeBudgetProgram:
		return r.rebuild(r.cost.Budget(call))
	case call.Program == chain.AssociatedProgram:
		return errors.Join(r.cost.Rent(chain.TokenAccountSize), r.rebuild(chain.ReadTokenAccount(call, r.intent.Signer)))
	case call.Program == chain.Ed25519Program:
		return r.check(call)
	case slices.Contains(r.programs, call.Program):
		return r.effect(call)
	default:
		return fmt.Errorf("it calls the program %s", call.Program)
	}
}

// opensMore says whether an instruction could open another escrow after the first.
func (r *messageReading) opensMore(call chain.Call) bool {
	return r.intent.Kind == KindOpen && call.Program == r.intent.Program && len(call.Data) > 0 && call.Data[0] == opOpen
}

// rebuild takes in an instruction as it is built.
func (r *messageReading) rebuild(again chain.Instruction, err error) error {
	r.rebuilt = append(r.rebuilt, again)
	return err
}

// check reads the proof of a voucher.
func (r *messageReading) check(call chain.Call) error {
	const header, body = 16, 16 + 32 + 64
	if len(call.Accounts) > 0 || len(call.Data) < body {
		return errors.New("a signature check in another form")
	}
	promise, err := readVoucher(call.Data[body:], r.programs)
	if err != nil {
		return err
	}
	in := fields{call.Data[header:body]}
	again := voucherCheck(in.key(), call.Data[body:], chain.Signature(in.take(len(chain.Signature{}))))
	if !bytes.Equal(again.Data, call.Data) {
		return errors.New("a signature check in another form")
	}
	r.promise, r.signatures = &promise, r.signatures+1
	r.rebuilt = append(r.rebuilt, again)
	return nil
}

// effect reads the program's own instruction.
func (r *messageReading) effect(call chain.Call) error {
	if len(call.Data) == 0 {
		return errors.New("an empty instruction")
	}
	op := call.Data[0]
	form, known := formOf(op)
	addresses, ok := form.Read(call)
	if !known || !ok {
		return fmt.Errorf("instruction %d in another form", op)
	}
	if op != opApplyConfig && addresses[0] != r.intent.Signer { // anybody may apply a configuration
		return fmt.Errorf("instruction %d of another signer", op)
	}
	if r.promise != nil && op != opClaim {
		return errors.New("a voucher without its claim")
	}
	r.intent.Program = call.Program
	r.rebuilt = append(r.rebuilt, form.Build(call.Program, call.Data, addresses...))
	if op >= opCreateConfig {
		return r.configure(call, addresses)
	}
	if r.intent.Kind == "" {
		r.intent.Lease = addresses[1]
	}
	return r.lease(call, addresses)
}

// lease reads what is done to a lease.
func (r *messageReading) lease(call chain.Call, addresses []chain.Address) error {
	switch call.Data[0] {
	case opOpen:
		return r.open(call, addresses)
	case opClaim:
		return r.claim(call, addresses)
	case opTopUp:
		r.intent.Kind, r.intent.Mint, r.intent.Tokens = KindTopUp, addresses[3], amountOf(call)
		return r.ownTokens(addresses[4], addresses[2])
	case opExtend:
		r.intent.Kind, r.intent.Deadline = KindExtend, time.Unix(int64(amountOf(call)), 0).UTC() //nolint:gosec // signed seconds
	case opDispute:
		r.intent.Kind, r.intent.Gross = KindDispute, amountOf(call)
	case opAward:
		r.intent.Kind, r.intent.Mint, r.intent.Gross = KindAward, addresses[3], amountOf(call)
	default:
		r.intent.Kind, r.intent.Mint = KindClose, addresses[3]
	}
	return nil
}

// ownTokens refuses a deposit from any account but the signer's associated one, or into any but the lease's vault.
func (r *messageReading) ownTokens(from, into chain.Address) error {
	own, err := chain.TokenAddress(r.intent.Signer, r.intent.Mint)
	if err != nil || own != from {
		return errors.New("a deposit from another token account")
	}
	vault, _, err := chain.Derive(r.intent.Program, []byte("vault"), r.intent.Lease[:])
	if err != nil || vault != into {
		return errors.New("a deposit into another vault")
	}
	return nil
}

// configure reads what is done to a market's configuration. Its terms are the authority's own business; they move nothing.
func (r *messageReading) configure(call chain.Call, addresses []chain.Address) error {
	in := fields{call.Data[1:]}
	switch call.Data[0] {
	case opCreateConfig:
		r.intent.Kind, r.intent.Config = KindCreateConfig, addresses[1]
		in.seconds()
		if err := r.cost.Rent(configSize); err != nil {
			return err
		}
	case opProposeConfig:
		r.intent.Kind, r.intent.Config = KindProposeConfig, addresses[1]
	default:
		r.intent.Kind, r.intent.Config = KindApplyConfig, addresses[0]
		return nil
	}
	terms, ok := in.terms()
	if !ok {
		return errors.New("a configuration that uses reserved bytes")
	}
	address, bump, err := ConfigAddress(call.Program, r.intent.Signer)
	if err != nil || address != r.intent.Config || len(in.rest) > 0 && in.byte() != bump {
		return errors.New("a configuration of another authority")
	}
	return terms.Validate()
}

// open reads a deposit. Everything that the program would derive is derived again.
func (r *messageReading) open(call chain.Call, addresses []chain.Address) error {
	in := fields{call.Data[1:]}
	terms := Terms{
		Program: call.Program, Config: addresses[8], Buyer: addresses[0], Supplier: addresses[5], Treasury: addresses[6],
		Arbiter: addresses[7], Mint: addresses[3], ID: in.key(), Deposit: in.amount(), Deadline: time.Unix(in.int64(), 0).UTC(),
		Fees:          money.Fees{BuyerBps: in.uint16(), SupplierBps: in.uint16(), BurnBps: in.uint16()},
		ArbiterCapBps: in.uint16(), DisputeDelay: in.seconds(), Decimals: in.byte(),
	}
	again, err := Open(terms)
	if err != nil {
		return err
	}
	r.rebuilt[len(r.rebuilt)-1] = again[0]
	r.opened = append(r.opened, terms)
	if _, err := OpenAll(r.opened); err != nil {
		return err
	}
	if r.intent.Tokens, err = r.intent.Tokens.Add(terms.Deposit); err != nil {
		return err
	}
	if len(r.opened) > 1 {
		r.intent.Others = append(r.intent.Others,
			Opening{Lease: addresses[1], Supplier: terms.Supplier, Arbiter: terms.Arbiter, Deadline: terms.Deadline})
	} else {
		r.intent.Kind, r.intent.Mint, r.intent.Config = KindOpen, terms.Mint, terms.Config
		r.intent.Supplier, r.intent.Arbiter, r.intent.Deadline = terms.Supplier, terms.Arbiter, terms.Deadline
	}
	return errors.Join(r.cost.Rent(leaseSize), r.cost.Rent(chain.TokenAccountSize))
}

// claim reads a claim: it takes nothing from its submitter.
func (r *messageReading) claim(call chain.Call, addresses []chain.Address) error {
	gross := money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	if r.promise == nil || r.promise.Program != call.Program || r.promise.Lease != addresses[1] || r.promise.Gross != gross {
		return errors.New("a claim without its voucher")
	}
	r.intent.Kind, r.intent.Mint, r.intent.Gross = KindClaim, addresses[3], gross
	return nil
}

// finish adds what the chain itself charges.
func (r *messageReading) finish() (err error) {
	if r.intent.Kind == "" {
		return errors.New("it does nothing")
	}
	r.intent.Lamports, err = r.cost.Total(r.signatures)
	return err
}
