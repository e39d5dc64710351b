// SPDX-License-Identifier: Apache-2.0

// Package contract reads a GPULease as what the escrow, the meter and the outbox know it by, what it runs as its digest, and a Market's
// stakes and prices, so that both sides of a lease and the market read them alike. It decides nothing, and it refuses a lease that cannot be read exactly.
package contract

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
)

// ErrUnreadable says that a field of a lease cannot be read, so that nothing may be signed or paid for it.
var ErrUnreadable = errors.New("unreadable lease")

// Escrow returns the lease's escrow terms.
func Escrow(lease *boursev1.GPULease) (escrow.Terms, error) {
	pay := &lease.Spec.Payment
	terms := escrow.Terms{Deadline: lease.Spec.Escrow.Deadline.Time}
	for _, address := range []struct {
		into *chain.Address
		name string
		text boursev1.SolanaAddress
	}{
		{&terms.Program, "program", lease.Spec.Escrow.ProgramID},
		{&terms.Buyer, "buyer", lease.Spec.Buyer},
		{&terms.Supplier, "supplier", lease.Spec.Supplier},
		{&terms.Treasury, "treasury", pay.Treasury},
		{&terms.Mint, "mint", pay.Mint},
		{&terms.Config, "config", pay.Config},
	} {
		parsed, err := chain.ParseAddress(string(address.text))
		if err != nil {
			return escrow.Terms{}, fmt.Errorf("%w: %s: %w", ErrUnreadable, address.name, err)
		}
		*address.into = parsed
	}
	id, err := LeaseID(lease)
	if err != nil {
		return escrow.Terms{}, err
	}
	terms.ID = id
	if terms.Deposit, err = amount("deposit", pay.Deposit); err != nil {
		return escrow.Terms{}, err
	}
	if terms.Fees, err = Fees(pay); err != nil {
		return escrow.Terms{}, err
	}
	token, err := Token(pay)
	if err != nil {
		return escrow.Terms{}, err
	}
	terms.Decimals = token.Decimals
	return terms, arbitration(&terms, pay)
}

// arbitration fills in who may award, if anybody may.
func arbitration(terms *escrow.Terms, pay *boursev1.LeasePayment) error {
	if pay.Arbiter == "" && pay.ArbiterCapBps == 0 && pay.DisputeDelaySeconds == 0 {
		return nil
	}
	arbiter, err := chain.ParseAddress(string(pay.Arbiter))
	if err != nil {
		return fmt.Errorf("%w: arbiter: %w", ErrUnreadable, err)
	}
	if pay.ArbiterCapBps < 1 || pay.ArbiterCapBps > math.MaxUint16 || pay.DisputeDelaySeconds < 1 {
		return fmt.Errorf("%w: the arbiter's cap or delay is missing or out of range", ErrUnreadable)
	}
	terms.Arbiter, terms.ArbiterCapBps = arbiter, uint16(pay.ArbiterCapBps)
	terms.DisputeDelay = time.Duration(pay.DisputeDelaySeconds) * time.Second
	return nil
}

// Config returns where the market's configuration is on chain.
func Config(market *boursev1.Market) (chain.Address, error) {
	program, err := chain.ParseAddress(string(market.Spec.ProgramID))
	if err != nil {
		return chain.Address{}, fmt.Errorf("read programID: %w", err)
	}
	authority, err := chain.ParseAddress(string(market.Spec.Authority))
	if err != nil {
		return chain.Address{}, fmt.Errorf("read authority: %w", err)
	}
	address, _, err := escrow.ConfigAddress(program, authority)
	return address, err
}

// Rules says where the lease departs from its market's rules about the chain, as the end of a sentence that begins with "the lease", or
// nothing. They are the program, the configuration, the treasury and the arbitration. Both parties compare them, whoever wrote the lease.
func Rules(lease *boursev1.GPULease, market *boursev1.Market) string {
	pay := &lease.Spec.Payment
	config, err := Config(market)
	if err != nil {
		return "is of a market whose configuration cannot be derived: " + err.Error()
	}
	want := market.Spec.Arbitration
	if want == nil {
		want = &boursev1.MarketArbitration{}
	}
	switch {
	case lease.Spec.Escrow.ProgramID != market.Spec.ProgramID:
		return "names another program than the market"
	case string(pay.Config) != config.String():
		return "names another configuration than the market's authority has"
	case pay.Treasury != market.Spec.Treasury:
		return "names another treasury than the market"
	case pay.Arbiter != want.Arbiter:
		return "names another arbiter than the market"
	case pay.ArbiterCapBps != want.CapBps || pay.DisputeDelaySeconds != want.DelaySeconds:
		return "gives the arbiter other bounds than the market"
	}
	return ""
}

// LeaseID returns the lease's identity on chain.
func LeaseID(lease *boursev1.GPULease) ([32]byte, error) {
	raw, err := hex.DecodeString(lease.Spec.Escrow.ID)
	if err != nil || len(raw) != len([32]byte{}) {
		return [32]byte{}, fmt.Errorf("%w: id %.80q is not 32 bytes in hexadecimal", ErrUnreadable, lease.Spec.Escrow.ID)
	}
	return [32]byte(raw), nil
}

// Fees returns the lease's fees.
func Fees(pay *boursev1.LeasePayment) (money.Fees, error) {
	fees := money.Fees{}
	for _, share := range []struct {
		into *uint16
		name string
		bps  *int32
	}{
		{&fees.BuyerBps, "buyer fee", pay.BuyerFeeBps},
		{&fees.SupplierBps, "supplier fee", pay.SupplierFeeBps},
		{&fees.BurnBps, "burn", pay.BurnBps},
	} {
		if share.bps == nil || *share.bps < 0 || *share.bps > math.MaxUint16 {
			return money.Fees{}, fmt.Errorf("%w: %s is missing or out of range", ErrUnreadable, share.name)
		}
		*share.into = uint16(*share.bps)
	}
	if err := fees.Validate(); err != nil {
		return money.Fees{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return fees, nil
}

// Token returns what the lease is paid in.
func Token(pay *boursev1.LeasePayment) (money.Token, error) {
	if pay.Decimals == nil || *pay.Decimals < 0 || *pay.Decimals > math.MaxUint8 {
		return money.Token{}, fmt.Errorf("%w: decimals are missing or out of range", ErrUnreadable)
	}
	return money.Token{Symbol: string(pay.Token), Decimals: uint8(*pay.Decimals)}, nil
}

// Meter returns what the meter needs of the lease.
func Meter(lease *boursev1.GPULease) (meter.Terms, error) {
	spec := &lease.Spec
	id, err := LeaseID(lease)
	if err != nil {
		return meter.Terms{}, err
	}
	price, err := amount("price", spec.Payment.PricePerGPUHour)
	if err != nil {
		return meter.Terms{}, err
	}
	deposit, err := amount("deposit", spec.Payment.Deposit)
	if err != nil {
		return meter.Terms{}, err
	}
	fees, err := Fees(&spec.Payment)
	if err != nil {
		return meter.Terms{}, err
	}
	gpus := int64(spec.Workers) * int64(spec.PerWorker)
	if gpus < 1 || gpus > math.MaxUint32 {
		return meter.Terms{}, fmt.Errorf("%w: %d GPUs", ErrUnreadable, gpus)
	}
	return meter.Terms{
		Lease:   id,
		GPUs:    uint32(gpus),
		Price:   price,
		Deposit: deposit,
		Fees:    fees,
		Term:    time.Duration(spec.Terms.DurationSeconds) * time.Second,
		Period:  time.Duration(spec.Terms.PeriodSeconds) * time.Second,
	}, nil
}

// Usage reads a usage record, nil for none.
func Usage(usage *boursev1.LeaseUsage) (*meter.Record, error) {
	if usage == nil {
		return nil, nil //nolint:nilnil // no record is no error
	}
	if usage.GPUMilliseconds == nil || *usage.GPUMilliseconds < 0 || usage.Gross == nil {
		return nil, fmt.Errorf("%w: usage record %d lacks its amounts", ErrUnreadable, usage.Sequence)
	}
	gross, err := amount("gross", *usage.Gross)
	if err != nil {
		return nil, err
	}
	digest, err := meter.ParseDigest(usage.Digest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	record := &meter.Record{
		Sequence:        usage.Sequence,
		GPUMilliseconds: uint64(*usage.GPUMilliseconds),
		Gross:           gross,
		Through:         usage.Through.Time,
		Final:           usage.Final == boursev1.UsageFinal,
		Digest:          digest,
	}
	if usage.ReadySince != nil {
		record.ReadySince = usage.ReadySince.Time
	}
	return record, nil
}

// Report writes a usage record as the API holds it. It fails when an amount exceeds what the API can hold.
func Report(record *meter.Record) (*boursev1.LeaseUsage, error) {
	if record.GPUMilliseconds > math.MaxInt64 {
		return nil, fmt.Errorf("report %d GPU-ms: %w", record.GPUMilliseconds, money.ErrOverflow)
	}
	gross, err := Signed(record.Gross)
	if err != nil {
		return nil, err
	}
	usage := &boursev1.LeaseUsage{
		Sequence:        record.Sequence,
		GPUMilliseconds: new(int64(record.GPUMilliseconds)),
		Gross:           &gross,
		Through:         metav1.NewTime(record.Through),
		Digest:          record.Digest.String(),
		Final:           boursev1.UsageOpen,
	}
	if record.Open() {
		usage.ReadySince = new(metav1.NewTime(record.ReadySince))
	}
	if record.Final {
		usage.Final = boursev1.UsageFinal
	}
	return usage, nil
}

// Signed returns the amount as the API holds it, or an error when that cannot hold it.
func Signed(a money.Amount) (int64, error) {
	if a > math.MaxInt64 {
		return 0, fmt.Errorf("store amount %s: %w", a, money.ErrOverflow)
	}
	return int64(a), nil
}

// Journal writes a prepared transaction as the API holds it, ready to be sent once it is stored.
func Journal(record outbox.Record) (*boursev1.Transaction, error) {
	if record.LastValidBlockHeight > math.MaxInt64 || record.Slot > math.MaxInt64 {
		return nil, fmt.Errorf("store transaction: %w", money.ErrOverflow)
	}
	return &boursev1.Transaction{
		Purpose:              boursev1.TransactionPurpose(record.Purpose),
		State:                boursev1.TransactionSigned,
		Signature:            boursev1.SolanaSignature(record.Signature),
		Raw:                  record.Raw,
		LastValidBlockHeight: new(int64(record.LastValidBlockHeight)),
		Slot:                 new(int64(record.Slot)),
		Attempt:              record.Attempt,
	}, nil
}

// Journalled reads a stored transaction.
func Journalled(tx *boursev1.Transaction) (outbox.Record, error) {
	if tx.LastValidBlockHeight == nil || tx.Slot == nil || *tx.LastValidBlockHeight < 0 || *tx.Slot < 0 {
		return outbox.Record{}, fmt.Errorf("read transaction: %w", outbox.ErrRecord)
	}
	return outbox.Record{
		Purpose:              string(tx.Purpose),
		Signature:            string(tx.Signature),
		Raw:                  tx.Raw,
		LastValidBlockHeight: uint64(*tx.LastValidBlockHeight),
		Slot:                 uint64(*tx.Slot),
		Attempt:              tx.Attempt,
	}, nil
}

func amount(name string, units int64) (money.Amount, error) {
	if units < 0 {
		return 0, fmt.Errorf("%w: %s is negative", ErrUnreadable, name)
	}
	return money.Amount(units), nil
}
