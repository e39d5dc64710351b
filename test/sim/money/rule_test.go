// SPDX-License-Identifier: Apache-2.0

package money

import (
	"context"
	"encoding/base64"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/supplier/gpulease"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// rule is what a schedule runs: the production code, or the production code with one rule changed into a plausible wrong one.
type rule struct {
	name     string
	honest   bool         // the nodes do not lie, and no journal is lost
	program  ledger.Rules // on chain
	unlocked bool         // writes are not locked
	from     uint64       // the first schedule to play: a rare misfortune need not be searched for in every run
	chain    func(*line) network
	claims   func(*process, gpulease.Ledger) gpulease.Ledger
}

func (r rule) over(l *line) network {
	if r.chain == nil {
		return l
	}
	return r.chain(l)
}

func (r rule) ledger(p *process, of gpulease.Ledger) gpulease.Ledger {
	if r.claims == nil {
		return of
	}
	return r.claims(p, of)
}

// plain are payments that no account on chain remembers.
func plain() ledger.Rules { return ledger.Rules{Forgetful: true} }

// mutants are the wrong rules. Each must be caught. All but the first run over nodes that do not lie, where the right rule alone is
// enough, and over a program that would pay twice if asked twice.
func mutants() []rule {
	return []rule{
		{name: "no receipt", program: plain()},
		{name: "signs anew on an error", honest: true, program: plain(), claims: func(_ *process, of gpulease.Ledger) gpulease.Ledger { return hasty{of} }},
		{name: "trusts confirmed", honest: true, program: plain(), chain: func(l *line) network { return credulous{l} }},
		{name: "trusts the tip's height", honest: true, program: plain(), chain: func(l *line) network { return tipTruster{l} }},
		{name: "trusts a node that is behind", honest: true, from: 740, program: plain(), chain: func(l *line) network { return lagIgnorer{l} }},
		{name: "sends before it has written", honest: true, program: plain(), claims: func(p *process, of gpulease.Ledger) gpulease.Ledger { return eager{of, p} }},
		{name: "writes without a lock", honest: true, program: plain(), unlocked: true},
	}
}

// hasty gives a claim up when it cannot tell what became of it.
type hasty struct{ gpulease.Ledger }

// Drive implements gpulease.Ledger.
func (m hasty) Drive(ctx context.Context, tx boursev1.Transaction) (gpulease.Outcome, error) {
	outcome, err := m.Ledger.Drive(ctx, tx)
	if err != nil {
		return gpulease.Outcome{State: gpulease.TransactionFailed, Detail: "it failed"}, nil //nolint:nilerr // that is the mistake
	}
	return outcome, nil
}

// credulous takes what is confirmed for final.
type credulous struct{ *line }

// Status implements network.
func (m credulous) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	status, err := m.line.Status(ctx, signature)
	if status.Commitment == chain.Confirmed {
		status.Commitment = chain.Finalized
	}
	return status, err
}

// tipTruster takes the height of the tip for one that no fork undoes.
type tipTruster struct{ *line }

// Status implements network.
func (m tipTruster) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	status, err := m.line.Status(ctx, signature)
	status.Finalized = m.p.w.fake.TipHeight()
	return status, err
}

// lagIgnorer believes that a node which does not know a transaction has seen everything.
type lagIgnorer struct{ *line }

// Status implements network.
func (m lagIgnorer) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	status, err := m.line.Status(ctx, signature)
	status.Slot = ^uint64(0)
	return status, err
}

// eager sends a claim in the pass that signs it.
type eager struct {
	gpulease.Ledger
	p *process
}

// Claim implements gpulease.Ledger.
func (m eager) Claim(
	ctx context.Context, lease *boursev1.GPULease, gross money.Amount, promise boursev1.SolanaSignature, attempt int32,
) (*boursev1.Transaction, error) {
	tx, err := m.Ledger.Claim(ctx, lease, gross, promise, attempt)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(tx.Raw)
	if err != nil {
		return nil, err
	}
	return tx, m.p.line.Send(ctx, raw)
}
