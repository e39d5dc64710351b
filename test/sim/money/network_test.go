// SPDX-License-Identifier: Apache-2.0

package money

import (
	"context"
	"errors"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
)

// network is everything that the operator asks of a chain.
type network interface {
	Blockhash(ctx context.Context) (chain.Blockhash, error)
	Simulate(ctx context.Context, raw []byte) (chain.Simulation, error)
	Send(ctx context.Context, raw []byte) error
	Status(ctx context.Context, signature chain.Signature) (chain.Status, error)
	GenesisHash(ctx context.Context) (chain.Hash, error)
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

var (
	errBusy = chain.NewError("call", chain.Retry, errors.New("http status 429"))
	errHung = chain.NewError("call", chain.Retry, context.DeadlineExceeded)
)

// nodes is how many endpoints a process knows; each has some of the schedule's faults.
const nodes = 3

// line is a process's connection to the chain, over the endpoint that answered last.
type line struct {
	p     *process
	which int
}

// nodeFaults are those that a node can have.
func nodeFaults() []fault {
	return []fault{refused, hangs, lostReply, behind, heightHigh, heightLow, hidden, forgetful}
}

// lag is how many blocks a node is behind, and until when.
type lag struct {
	blocks uint64
	until  time.Time
}

// at returns the fault of the present node in this call, or none. A node that is behind stays so for some seconds.
func (l *line) at() fault {
	w := l.p.w
	if w.now.Before(w.lags[l.which].until) && !w.calm {
		return behind
	}
	for _, f := range nodeFaults() {
		if w.faulty[l.which][f] && w.strikes(f) {
			if f == behind {
				w.lags[l.which] = lag{blocks: 1 + w.random.Uint64N(200), until: w.now.Add(time.Duration(1+w.random.IntN(5)) * time.Second)}
			}
			return f
		}
	}
	return ""
}

// ask makes one call over the present node. On an error the next call goes to the next node.
func ask[T any](l *line, method string, call func() (T, error)) (T, fault, error) {
	var none T
	w := l.p.w
	w.interrupt(l.p)
	struck := l.at()
	switch struck {
	case refused:
		l.which = (l.which + 1) % nodes
		return none, struck, errBusy
	case hangs:
		l.which = (l.which + 1) % nodes
		w.elapse(10 * time.Second)
		return none, struck, errHung
	case lostReply:
		w.next = chaintest.Fault{LoseReply: true}
	case behind:
		w.next = chaintest.Fault{Behind: w.lags[l.which].blocks}
	default:
	}
	value, err := call()
	w.next = chaintest.Fault{}
	if err != nil {
		l.which = (l.which + 1) % nodes
	}
	w.note("%s node %d %s %s %s", l.p.name, l.which, method, struck, text(err))
	return value, struck, err
}

func text(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// GenesisHash implements network.
func (l *line) GenesisHash(ctx context.Context) (chain.Hash, error) {
	value, _, err := ask(l, "genesis", func() (chain.Hash, error) { return l.p.w.fake.GenesisHash(ctx) })
	return value, err
}

// Blockhash implements network.
func (l *line) Blockhash(ctx context.Context) (chain.Blockhash, error) {
	value, _, err := ask(l, "blockhash", func() (chain.Blockhash, error) { return l.p.w.fake.Blockhash(ctx) })
	if err == nil {
		l.p.w.watch.valid[value.Hash] = value.LastValidHeight
	}
	return value, err
}

// Simulate implements network.
func (l *line) Simulate(ctx context.Context, raw []byte) (chain.Simulation, error) {
	value, _, err := ask(l, "simulate", func() (chain.Simulation, error) { return l.p.w.fake.Simulate(ctx, raw) })
	return value, err
}

// Status implements network.
func (l *line) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	value, struck, err := ask(l, "status", func() (chain.Status, error) { return l.p.w.fake.Status(ctx, signature) })
	if err != nil {
		return value, err
	}
	off := 100 + l.p.w.random.Uint64N(400)
	switch {
	case struck == heightHigh:
		value.Finalized.Block += off
	case struck == heightLow:
		value.Finalized.Block -= min(value.Finalized.Block, off)
	case struck == hidden:
		value = chain.Status{Slot: value.Slot, Finalized: value.Finalized}
	case struck == forgetful && !value.Found:
		value.Oldest = value.Slot
	case struck == forgetful && value.Commitment == chain.Finalized:
		value = chain.Status{Slot: value.Slot, Oldest: value.Slot, Finalized: value.Finalized}
	}
	return value, nil
}

// Accounts implements network.
func (l *line) Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error) {
	value, _, err := ask(l, "accounts", func() ([]chain.Account, error) { return l.p.w.fake.Accounts(ctx, level, addresses...) })
	return value, err
}

// Signatures implements network. A node that forgot its history knows only the newest entry.
func (l *line) Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error) {
	value, struck, err := ask(l, "signatures", func() ([]chain.SignatureInfo, error) { return l.p.w.fake.Signatures(ctx, address, until) })
	if struck == forgetful && len(value) > 1 {
		value = value[:1]
	}
	return value, err
}

// Transaction implements network.
func (l *line) Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error) {
	value, struck, err := ask(l, "transaction", func() (chain.Transaction, error) { return l.p.w.fake.Transaction(ctx, signature) })
	if err == nil && struck == hidden {
		return chain.Transaction{}, chain.NewError("call", chain.Retry, chain.ErrUnknown)
	}
	return value, err
}

// Send implements network: the bytes may be lost, late, sent twice, or sent without anybody hearing of it.
func (l *line) Send(ctx context.Context, raw []byte) error {
	w := l.p.w
	return w.effect(l.p, "send", nil, func() error {
		known := w.watch.sent(raw)
		w.sent = append(w.sent, raw)
		copies := 1
		if w.strikes(duplicated) {
			copies = 2
		}
		var err error
		for range copies {
			way := w.fateOf(raw, known)
			known = true
			_, _, err = ask(l, "send", func() (bool, error) {
				way.LoseReply = w.next.LoseReply
				w.next = way
				return true, w.fake.Send(ctx, raw)
			})
		}
		return err
	})
}
