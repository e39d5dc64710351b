// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// saveTries is how often a signature is booked when others book at the same time.
const saveTries = 5

// Intent is what a message would do to the wallet that signs it: the most that can leave it.
type Intent struct {
	What     string        // for people, as in "open lease 4Nd1…"
	Wallet   chain.Address // whose signature it asks for; zero: it names nobody
	Lamports money.Amount  // fees of the chain and rents
	Tokens   map[chain.Address]money.Amount
	// Once names an effect that the chain allows only once, however often it is signed; empty: each signature may spend.
	Once string
}

// A Reader says what a message would do. It returns an error for every message that it does not understand to the last byte.
type Reader func(message []byte) (Intent, error)

// Switch says whether an administrator has paused the wallet, and how that is undone. It returns an error when it cannot tell.
type Switch interface {
	Paused(ctx context.Context) (undo string, paused bool, err error)
}

// PolicyOptions are what a wallet signs, and how much.
type PolicyOptions struct {
	Read   []Reader // what is signed; anything else is refused
	Switch Switch
	Limits Limits
	Flag   string // where the limits are set, for people
	Store  Store  // needed with limits only
	Now    func() time.Time
}

// Policy is a wallet that signs only what its readers understand, within daily caps, and while nobody has paused it. A signature
// leaves it only after what it spends is booked.
type Policy struct {
	wallet Signer
	rules  PolicyOptions
	mu     sync.Mutex // one booking at a time
}

// NewPolicy puts the rules before the wallet.
func NewPolicy(wallet Signer, rules PolicyOptions) *Policy {
	return &Policy{wallet: wallet, rules: rules}
}

// PublicKey returns the wallet's address.
func (p *Policy) PublicKey() chain.Address { return p.wallet.PublicKey() }

// String names the wallet.
func (p *Policy) String() string { return "policy of " + p.PublicKey().String() }

// Sign signs a message that the rules allow. What they do not allow is a *Refusal; any other error says that nothing was learned.
func (p *Policy) Sign(ctx context.Context, message []byte) (chain.Signature, error) {
	intent, err := p.read(message)
	if err != nil {
		return chain.Signature{}, err
	}
	undo, paused, err := p.rules.Switch.Paused(ctx)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("ask whether the wallet is paused: %w", err)
	}
	if paused {
		return chain.Signature{}, refuse(Paused, "An administrator has paused the wallet %s; %s to go on", p.PublicKey(), undo)
	}
	if !p.rules.Limits.concern(intent) {
		return p.wallet.Sign(ctx, message)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for range saveTries {
		signature, err := p.spend(ctx, intent, message)
		if !errors.Is(err, ErrConflict) {
			return signature, err
		}
	}
	return chain.Signature{}, fmt.Errorf("book spending: %w", ErrConflict)
}

// read returns what the message would do, if one reader understands it and it concerns this wallet.
func (p *Policy) read(message []byte) (Intent, error) {
	var why []string
	for _, read := range p.rules.Read {
		intent, err := read(message)
		if err == nil && !intent.Wallet.IsZero() && intent.Wallet != p.PublicKey() {
			err = fmt.Errorf("it is for the wallet %s", intent.Wallet)
		}
		if err == nil {
			return intent, nil
		}
		if text := err.Error(); !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	return Intent{}, refuse(MessageRefused, "The wallet %s does not sign such a message: %s", p.PublicKey(), strings.Join(why, "; "))
}

// spend checks the caps, signs, and books. Nothing is booked for a message that was not signed, and no signature is given that was not
// booked: one that a crash or a conflict keeps back is never seen by anybody.
func (p *Policy) spend(ctx context.Context, intent Intent, message []byte) (chain.Signature, error) {
	spent, err := p.rules.Store.Load(ctx)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("load spending: %w", err)
	}
	next, err := spent.with(intent, p.rules.Now())
	if err != nil {
		return chain.Signature{}, fmt.Errorf("add up spending: %w", err)
	}
	if why := p.rules.Limits.check(next, intent); why != "" {
		return chain.Signature{}, refuse(SpendCapReached, "The wallet %s does not sign to %s: %s; raise it with --%s, or wait until 00:00 UTC",
			p.PublicKey(), intent.What, why, p.rules.Flag)
	}
	signature, err := p.wallet.Sign(ctx, message)
	if err != nil {
		return chain.Signature{}, err
	}
	if err := p.rules.Store.Save(ctx, next); err != nil {
		return chain.Signature{}, fmt.Errorf("save spending: %w", err)
	}
	return signature, nil
}
