// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// ErrMessage says that a message is not one that this package builds, so that nobody should sign it.
var ErrMessage = errors.New("message is not understood")

// KindVoucher is the intent of a message that is no transaction but a buyer's promise.
const KindVoucher Kind = "Voucher"

// What a transaction may cost its signer besides tokens.
const (
	lamportsPerSignature = 5_000
	microLamports        = 1_000_000 // of one lamport
	mostUnits            = 1_400_000 // that one transaction can compute
	rentPerByte          = 6_960
	rentOverhead         = 128 // bytes that every account is charged for besides its data
)

// Intent is what a message would do once it is signed. What it does not say, the message cannot do: amounts are the most that can leave
// the signer's wallet, whatever the chain makes of it.
type Intent struct {
	Kind     Kind
	Program  chain.Address // the lease program
	Signer   chain.Address // the only signer, who pays the fees of the chain; zero for a voucher, which names nobody
	Lease    chain.Address
	Mint     chain.Address // zero for a voucher
	Supplier chain.Address // Open: who is to be paid
	Tokens   money.Amount  // the most of the mint that leaves the signer's token account
	Lamports uint64        // the most lamports that leave the signer's wallet: fees, priority fee and rent
	Gross    money.Amount  // Claim, Voucher: the cumulative gross amount
	Deadline time.Time     // Open: until when the deposit may be kept
}

// ReadMessage says what a message would do: a transaction of one signer with one instruction of one of the programs, or a voucher for
// one of them. Anything else is an ErrMessage: another version, a second signer, an instruction that this package does not build, an
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
	units      *uint32
	price      *uint64
	promise    *Intent // what the voucher check before a claim proves
}

// call reads one instruction.
func (r *messageReading) call(call chain.Call) error {
	switch {
	case r.intent.Kind != "":
		return fmt.Errorf("an instruction follows the %s", r.intent.Kind)
	case r.promise != nil && !slices.Contains(r.programs, call.Program):
		return errors.New("the claim does not follow its voucher")
	case call.Program == chain.ComputeBudgetProgram:
		return r.budget(call)
	case call.Program == chain.AssociatedProgram:
		return r.create(call)
	case call.Program == chain.Ed25519Program:
		return r.check(call)
	case slices.Contains(r.programs, call.Program):
		return r.effect(call)
	default:
		return fmt.Errorf("it calls the program %s", call.Program)
	}
}

// budget reads a limit of compute units, or a price for them.
func (r *messageReading) budget(call chain.Call) error {
	data := call.Data
	switch {
	case len(call.Accounts) > 0:
	case len(data) == 5 && data[0] == setUnitLimit && r.units == nil:
		r.units = new(binary.LittleEndian.Uint32(data[1:]))
		r.rebuilt = append(r.rebuilt, chain.Instruction{Program: call.Program, Data: data})
		return nil
	case len(data) == 9 && data[0] == setUnitPrice && r.price == nil:
		r.price = new(binary.LittleEndian.Uint64(data[1:]))
		r.rebuilt = append(r.rebuilt, chain.Instruction{Program: call.Program, Data: data})
		return nil
	}
	return errors.New("a compute budget in another form")
}

// create reads the making of an associated token account, which costs the signer its rent at most.
func (r *messageReading) create(call chain.Call) error {
	addresses, ok := createForm().read(call)
	if !ok || call.Data[0] != createIdempotent || addresses[0] != r.intent.Signer {
		return errors.New("a token account in another form")
	}
	tokens, again, err := tokensOf(addresses[0], addresses[2], addresses[3])
	if err != nil || tokens != addresses[1] {
		return errors.New("a token account that is not the wallet's associated one")
	}
	r.rebuilt = append(r.rebuilt, again)
	return r.costs(rent(tokensSize))
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
	form, known := formOf(call.Data[0])
	addresses, ok := form.read(call)
	if !known || !ok {
		return fmt.Errorf("instruction %d in another form", call.Data[0])
	}
	if addresses[0] != r.intent.Signer {
		return fmt.Errorf("instruction %d of another signer", call.Data[0])
	}
	r.intent.Program, r.intent.Lease = call.Program, addresses[1]
	r.rebuilt = append(r.rebuilt, form.build(call.Program, call.Data, addresses...))
	switch call.Data[0] {
	case opOpen:
		return r.open(call, addresses)
	case opClaim:
		return r.claim(call, addresses)
	default:
		return r.close(addresses)
	}
}

// open reads a deposit. Everything that the program would derive is derived again.
func (r *messageReading) open(call chain.Call, addresses []chain.Address) error {
	buyer, mint, tokens, supplier, treasury := addresses[0], addresses[3], addresses[4], addresses[5], addresses[6]
	in := fields{call.Data[1:]}
	terms := Terms{Program: call.Program, Buyer: buyer, Supplier: supplier, Treasury: treasury, Mint: mint, ID: in.key(), Deposit: in.amount()}
	terms.Deadline = time.Unix(int64(in.uint64()), 0) //nolint:gosec // the layout's signed seconds
	terms.Fees = money.Fees{BuyerBps: in.uint16(), SupplierBps: in.uint16(), BurnBps: in.uint16()}
	terms.Decimals = in.byte()
	again, err := Open(terms)
	if err != nil {
		return err
	}
	r.rebuilt[len(r.rebuilt)-1] = again[0]
	r.intent.Kind, r.intent.Mint, r.intent.Supplier = KindOpen, mint, supplier
	r.intent.Tokens, r.intent.Deadline = terms.Deposit, terms.Deadline
	own, err := chain.TokenAddress(buyer, mint)
	if err != nil || own != tokens {
		return errors.New("a deposit from another token account")
	}
	if err := r.costs(rent(leaseSize)); err != nil {
		return err
	}
	return r.costs(rent(tokensSize))
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

// close reads a refund: it takes nothing from its submitter.
func (r *messageReading) close(addresses []chain.Address) error {
	r.intent.Kind, r.intent.Mint = KindClose, addresses[3]
	if r.promise != nil {
		return errors.New("a voucher without its claim")
	}
	return nil
}

// finish adds what the chain itself charges.
func (r *messageReading) finish() error {
	if r.intent.Kind == "" {
		return errors.New("it does nothing with a lease")
	}
	if err := r.costs(r.signatures * lamportsPerSignature); err != nil {
		return err
	}
	if r.price == nil {
		return nil
	}
	units := uint64(mostUnits)
	if r.units != nil {
		units = min(units, uint64(*r.units))
	}
	high, low := bits.Mul64(*r.price, units)
	if high >= microLamports {
		return errors.New("a priority fee beyond counting")
	}
	fee, rest := bits.Div64(high, low, microLamports)
	if rest > 0 {
		fee++
	}
	return r.costs(fee)
}

// costs adds to what the signer's wallet loses in lamports.
func (r *messageReading) costs(lamports uint64) error {
	sum, carry := bits.Add64(r.intent.Lamports, lamports, 0)
	if carry > 0 {
		return errors.New("lamports beyond counting")
	}
	r.intent.Lamports = sum
	return nil
}

// rent is what an account of a size must hold to stay.
func rent(size uint64) uint64 { return (size + rentOverhead) * rentPerByte }
