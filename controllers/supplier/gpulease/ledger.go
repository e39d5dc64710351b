// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"fmt"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Ledger is the chain as a supplier uses it. An error means that nothing was learned and nothing was sent; the lease stays as it is.
type Ledger interface {
	// Look reads the lease's escrow at finalized.
	Look(ctx context.Context, lease *boursev1.GPULease) (Escrow, error)
	// Claim signs, and does not send, a payment up to the promised cumulative gross amount.
	Claim(ctx context.Context, lease *boursev1.GPULease, gross money.Amount, promise boursev1.SolanaSignature, attempt int32) (*boursev1.Transaction, error)
	// Dispute signs, and does not send, the supplier's word that it is owed a cumulative gross amount without a promise.
	Dispute(ctx context.Context, lease *boursev1.GPULease, gross money.Amount, attempt int32) (*boursev1.Transaction, error)
	// Close signs, and does not send, the refund.
	Close(ctx context.Context, lease *boursev1.GPULease, attempt int32) (*boursev1.Transaction, error)
	// Drive sends a transaction that was written down, or says what became of it.
	Drive(ctx context.Context, tx boursev1.Transaction) (Outcome, error)
}

// Escrow is what the chain holds for a lease.
type Escrow struct {
	State EscrowState
	Paid  money.Amount // cumulative gross; also of one that is closed

	Disputed bool      // there is, or was, a dispute
	Held     time.Time // until when the open dispute waits for the arbiter; zero if none is open
	Detail   string    // why it is refused
}

// EscrowState says whether a lease can be paid from its escrow.
type EscrowState int

// The states of an escrow.
const (
	EscrowAbsent  EscrowState = iota // nothing is there yet
	EscrowOpen                       // it is what the lease says
	EscrowClosed                     // it was closed for good
	EscrowRefused                    // it is not what the lease says
)

// Outcome is what is known of a transaction.
type Outcome struct {
	State  TransactionState
	Detail string // why it failed
}

// TransactionState is how far a transaction has come.
type TransactionState int

// The states of a transaction. Only one that is pending can still land.
const (
	TransactionPending TransactionState = iota
	TransactionLanded
	TransactionFailed
	TransactionForgotten // only the escrow can tell whether it landed
)

// Chain is what a ledger needs of the chain's client.
type Chain interface {
	outbox.Chain
	// Accounts reads accounts at one moment; one that does not exist is no error.
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
}

// OnChain is the Ledger on Solana; the supplier's wallet signs and pays the fees of the chain.
type OnChain struct {
	Chain  Chain
	Signer signer.Signer
}

// Look implements Ledger.
func (l OnChain) Look(ctx context.Context, lease *boursev1.GPULease) (Escrow, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return Escrow{}, err
	}
	address, err := terms.Address()
	if err != nil {
		return Escrow{}, fmt.Errorf("derive lease: %w", err)
	}
	vault, err := terms.Vault()
	if err != nil {
		return Escrow{}, fmt.Errorf("derive vault: %w", err)
	}
	accounts, err := l.Chain.Accounts(ctx, chain.Finalized, address, vault)
	if err != nil {
		return Escrow{}, fmt.Errorf("read escrow: %w", err)
	}
	if len(accounts) != 2 {
		return Escrow{}, fmt.Errorf("read escrow: %d accounts instead of 2", len(accounts))
	}
	facts, err := escrow.Verify(terms, accounts[0], accounts[1])
	if err == nil {
		return Escrow{State: EscrowOpen, Paid: facts.Paid, Disputed: !facts.DisputedAt.IsZero(), Held: facts.Held}, nil
	}
	var refusal *escrow.Refusal
	switch {
	case errors.Is(err, escrow.Closed):
		return Escrow{State: EscrowClosed, Paid: facts.Paid}, nil
	case errors.Is(err, escrow.Absent) && !accounts[0].Exists:
		return Escrow{State: EscrowAbsent}, nil
	case errors.As(err, &refusal):
		return Escrow{State: EscrowRefused, Detail: refusal.Error()}, nil
	default:
		return Escrow{}, fmt.Errorf("verify escrow: %w", err)
	}
}

// Claim implements Ledger.
func (l OnChain) Claim(
	ctx context.Context, lease *boursev1.GPULease, gross money.Amount, promise boursev1.SolanaSignature, attempt int32,
) (*boursev1.Transaction, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return nil, err
	}
	signature, err := chain.ParseSignature(string(promise))
	if err != nil {
		return nil, fmt.Errorf("read voucher: %w", err)
	}
	instructions, err := escrow.Claim(terms, l.Signer.PublicKey(), gross, signature)
	if err != nil {
		return nil, err
	}
	return l.prepare(ctx, boursev1.TransactionClaim, instructions, attempt)
}

// Dispute implements Ledger.
func (l OnChain) Dispute(ctx context.Context, lease *boursev1.GPULease, gross money.Amount, attempt int32) (*boursev1.Transaction, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return nil, err
	}
	instructions, err := escrow.Dispute(terms, gross)
	if err != nil {
		return nil, err
	}
	return l.prepare(ctx, boursev1.TransactionDispute, instructions, attempt)
}

// Close implements Ledger.
func (l OnChain) Close(ctx context.Context, lease *boursev1.GPULease, attempt int32) (*boursev1.Transaction, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return nil, err
	}
	instructions, err := escrow.Close(terms, l.Signer.PublicKey())
	if err != nil {
		return nil, err
	}
	return l.prepare(ctx, boursev1.TransactionClose, instructions, attempt)
}

func (l OnChain) prepare(
	ctx context.Context, purpose boursev1.TransactionPurpose, instructions []chain.Instruction, attempt int32,
) (*boursev1.Transaction, error) {
	record, err := outbox.Prepare(ctx, l.Chain, l.Signer, string(purpose), instructions, attempt)
	if err != nil {
		return nil, err
	}
	return contract.Journal(record)
}

// Drive implements Ledger.
func (l OnChain) Drive(ctx context.Context, tx boursev1.Transaction) (Outcome, error) {
	record, err := contract.Journalled(&tx)
	if err != nil {
		return Outcome{}, err
	}
	outcome, err := outbox.Drive(ctx, l.Chain, record)
	if err != nil {
		return Outcome{}, err
	}
	switch outcome.State {
	case outbox.Landed:
		return Outcome{State: TransactionLanded}, nil
	case outbox.Failed:
		return Outcome{State: TransactionFailed, Detail: outcome.Failure.Error()}, nil
	case outbox.Expired, outbox.Forgotten: // that an expired one never landed is what the escrow will say too
		return Outcome{State: TransactionForgotten}, nil
	case outbox.Pending:
	}
	return Outcome{State: TransactionPending}, nil
}

// vouches says whether a promise is the buyer's, over this lease's escrow and exactly that amount.
func vouches(lease *boursev1.GPULease, promise boursev1.VoucherSpec) bool {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return false
	}
	address, err := terms.Address()
	if err != nil {
		return false
	}
	signature, err := chain.ParseSignature(string(promise.Signature))
	if err != nil {
		return false
	}
	return escrow.VerifyVoucher(terms.Program, address, terms.Buyer, amount(promise.Gross), signature) == nil
}

// checkEscrow says whether the escrow's address is the one that the lease's terms lead to.
func checkEscrow(lease *boursev1.GPULease) error {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return err
	}
	if err := terms.Validate(); err != nil {
		return err
	}
	address, err := terms.Address()
	if err != nil {
		return err
	}
	if address.String() != string(lease.Spec.Escrow.Address) {
		return fmt.Errorf("the address is %s instead of %s", lease.Spec.Escrow.Address, address)
	}
	return nil
}
