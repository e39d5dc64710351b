// SPDX-License-Identifier: Apache-2.0

package signer_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
)

// memory keeps spending as a store does, and can fail.
type memory struct {
	mu      sync.Mutex
	kept    signer.Spending
	saves   int
	loadErr error
	saveErr error
	rival   func() // runs once, before the next save
}

func (m *memory) Load(context.Context) (signer.Spending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.kept
	found.Version = strconv.Itoa(m.saves)
	return found, m.loadErr
}

func (m *memory) Save(_ context.Context, spending signer.Spending) error {
	if rival := m.rival; rival != nil {
		m.rival = nil
		rival()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.saveErr != nil:
		return m.saveErr
	case spending.Version != strconv.Itoa(m.saves):
		return signer.ErrConflict
	}
	spending.Version = ""
	m.kept, m.saves = spending, m.saves+1
	return nil
}

// pause is a switch that a test flips.
type pause struct {
	on  bool
	err error
}

func (p *pause) Paused(context.Context) (string, bool, error) {
	return "delete the ConfigMap bourse-pause", p.on, p.err
}

var (
	usdc = chain.Address{6}
	io8  = chain.Address{8}
)

// policed is a wallet under a policy, with everything that a test may change. Its one reader understands the messages of intents.
type policed struct {
	wallet  *signer.Keypair
	store   *memory
	pause   *pause
	now     time.Time
	intents map[string]signer.Intent
	policy  *signer.Policy
}

func newPoliced(t *testing.T, caps ...string) *policed {
	t.Helper()
	limits, err := signer.ParseLimits(caps)
	if err != nil {
		t.Fatal(err)
	}
	p := &policed{
		wallet: signer.FromSeed(canary), store: &memory{}, pause: &pause{}, now: time.Date(2027, 3, 1, 23, 0, 0, 0, time.UTC),
		intents: map[string]signer.Intent{},
	}
	p.restart(limits)
	return p
}

// restart makes the policy anew, as a restart of the process does.
func (p *policed) restart(limits signer.Limits) {
	read := func(message []byte) (signer.Intent, error) {
		intent, known := p.intents[string(message)]
		if !known {
			return signer.Intent{}, errors.New("nobody knows it")
		}
		return intent, nil
	}
	p.policy = signer.NewPolicy(p.wallet, signer.PolicyOptions{
		Read:   []signer.Reader{func([]byte) (signer.Intent, error) { return signer.Intent{}, errors.New("not a stake") }, read},
		Switch: p.pause, Limits: limits, Flag: "buyer-daily-cap", Store: p.store, Now: func() time.Time { return p.now },
	})
}

// spend signs a new message that spends so much USDC.
func (p *policed) spend(t *testing.T, units money.Amount, once string) error {
	t.Helper()
	message := fmt.Sprintf("message %d", len(p.intents))
	p.intents[message] = signer.Intent{
		What: "open a lease", Wallet: p.wallet.PublicKey(), Lamports: 5_000, Tokens: map[chain.Address]money.Amount{usdc: units}, Once: once,
	}
	signature, err := p.policy.Sign(t.Context(), []byte(message))
	if want, _ := p.wallet.Sign(t.Context(), []byte(message)); err == nil && signature != want {
		t.Errorf("%s has another signature", message)
	}
	if err != nil && !signature.IsZero() {
		t.Errorf("a signature came with %v", err)
	}
	return err
}

func usdcCap(amount string) string { return usdc.String() + ":6=" + amount }

func TestPolicySignsWhatItsReadersUnderstand(t *testing.T) {
	p := newPoliced(t)
	p.intents["voucher"] = signer.Intent{What: "promise"}
	p.intents["another wallet's"] = signer.Intent{What: "open a lease", Wallet: usdc}
	if _, err := p.policy.Sign(t.Context(), []byte("voucher")); err != nil {
		t.Errorf("what names nobody and spends nothing: %v", err)
	}
	if err := p.spend(t, 1<<62, ""); err != nil {
		t.Errorf("without caps: %v", err)
	}
	for message, says := range map[string]string{"junk": "not a stake; nobody knows it", "": "nobody knows it", "another wallet's": usdc.String()} {
		signature, err := p.policy.Sign(t.Context(), []byte(message))
		if !errors.Is(err, signer.MessageRefused) || !strings.Contains(err.Error(), says) || !signature.IsZero() {
			t.Errorf("%q: got %v, want %s that says %q", message, err, signer.MessageRefused, says)
		}
	}
	if p.store.saves != 0 {
		t.Error("spending is booked though nothing is limited")
	}
}

func TestPausedWalletSignsNothing(t *testing.T) {
	p := newPoliced(t)
	p.intents["voucher"] = signer.Intent{What: "promise"}
	p.pause.on = true
	for _, sign := range []func() error{
		func() error { return p.spend(t, 1, "") },
		func() error { _, err := p.policy.Sign(t.Context(), []byte("voucher")); return err },
	} {
		if err := sign(); !errors.Is(err, signer.Paused) || !strings.Contains(err.Error(), "delete the ConfigMap bourse-pause to go on") {
			t.Errorf("got %v, want %s with the way out", err, signer.Paused)
		}
	}
	p.pause.on = false
	if err := p.spend(t, 1, ""); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	p.pause.err = errors.New("the API server is down")
	err := p.spend(t, 1, "")
	if _, refused := errors.AsType[*signer.Refusal](err); err == nil || refused {
		t.Errorf("got %v: a wallet that may be paused signs nothing, and it is no decision", err)
	}
}

func TestCapHoldsOverRestartsAndReplicas(t *testing.T) {
	limits, err := signer.ParseLimits([]string{usdcCap("100")})
	if err != nil {
		t.Fatal(err)
	}
	p := newPoliced(t, usdcCap("100"))
	for i, step := range []struct {
		units money.Amount
		want  error
	}{{60_000_000, nil}, {40_000_001, signer.SpendCapReached}, {40_000_000, nil}, {1, signer.SpendCapReached}} {
		p.restart(limits)
		if err := p.spend(t, step.units, ""); !errors.Is(err, step.want) {
			t.Errorf("step %d: got %v, want %v", i, err, step.want)
		}
	}
	err = p.spend(t, 1, "")
	for _, part := range []string{"100.00", usdc.String(), "--buyer-daily-cap", "00:00 UTC"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	p.now = p.now.Add(time.Hour)
	if err := p.spend(t, 100_000_000, ""); err != nil {
		t.Errorf("on the next day: %v", err)
	}
	p.now = p.now.Add(-2 * time.Hour)
	if err := p.spend(t, 1, ""); !errors.Is(err, signer.SpendCapReached) {
		t.Errorf("a clock that went back: got %v, want %v", err, signer.SpendCapReached)
	}
}

// Two replicas with one wallet book in one record: the one that is second counts what the first one booked meanwhile.
func TestRivalsShareOneCap(t *testing.T) {
	p := newPoliced(t, usdcCap("100"))
	p.store.rival = func() {
		if err := p.store.Save(t.Context(), signer.Spending{
			Day: "2027-03-01", Tokens: map[string]money.Amount{usdc.String(): 70_000_000}, Version: "0",
		}); err != nil {
			t.Error(err)
		}
	}
	if err := p.spend(t, 40_000_000, ""); !errors.Is(err, signer.SpendCapReached) {
		t.Errorf("got %v, want %v", err, signer.SpendCapReached)
	}
	p.store.rival = func() {
		if err := p.store.Save(t.Context(), signer.Spending{
			Day: "2027-03-01", Tokens: map[string]money.Amount{usdc.String(): 80_000_000}, Version: "1",
		}); err != nil {
			t.Error(err)
		}
	}
	if err := p.spend(t, 20_000_000, ""); err != nil {
		t.Errorf("what is left: %v", err)
	}
	if got := p.store.kept.Tokens[usdc.String()]; got != 100_000_000 {
		t.Errorf("booked %s, want 100000000", got)
	}
}

// A deposit that expired is signed again: the chain opens a lease once, so it counts once. Its fees count each time.
func TestWhatTheChainAllowsOnceCountsOnce(t *testing.T) {
	p := newPoliced(t, usdcCap("100"))
	for range 3 {
		if err := p.spend(t, 90_000_000, "open lease a"); err != nil {
			t.Fatal(err)
		}
	}
	want := signer.Spending{
		Day: "2027-03-01", Lamports: 15_000, Tokens: map[string]money.Amount{usdc.String(): 90_000_000}, Once: []string{"open lease a"},
	}
	if diff := cmp.Diff(want, p.store.kept); diff != "" {
		t.Errorf("booked (-want +got):\n%s", diff)
	}
	if err := p.spend(t, 90_000_000, "open lease b"); !errors.Is(err, signer.SpendCapReached) {
		t.Errorf("another lease: got %v, want %v", err, signer.SpendCapReached)
	}
}

func TestOtherTokensAndSOLHaveTheirOwnCaps(t *testing.T) {
	p := newPoliced(t, usdcCap("100"), "SOL=0.00001")
	p.intents["io"] = signer.Intent{What: "open a lease", Tokens: map[chain.Address]money.Amount{io8: 1}}
	if _, err := p.policy.Sign(t.Context(), []byte("io")); !errors.Is(err, signer.SpendCapReached) || !strings.Contains(err.Error(), io8.String()) {
		t.Errorf("a token without a cap: got %v, want %v that names it", err, signer.SpendCapReached)
	}
	for i, want := range []error{nil, nil, signer.SpendCapReached} { // 5000 lamports each
		if err := p.spend(t, 1, ""); !errors.Is(err, want) {
			t.Errorf("step %d: got %v, want %v", i, err, want)
		}
	}
}

// What cannot be booked is not handed out, and what was not signed is not booked.
func TestNothingIsSpentUnbooked(t *testing.T) {
	p := newPoliced(t, usdcCap("100"))
	p.store.saveErr = errors.New("the API server is down")
	if err := p.spend(t, 1, ""); err == nil {
		t.Error("a signature was given that is not booked")
	}
	p.store.saveErr, p.store.loadErr = nil, errors.New("the API server is down")
	if err := p.spend(t, 1, ""); err == nil {
		t.Error("a signature was given by a wallet that does not know what it has spent")
	}
	p.store.loadErr = nil
	p.intents["late"] = signer.Intent{What: "open a lease", Tokens: map[chain.Address]money.Amount{usdc: 1}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.policy.Sign(ctx, []byte("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if p.store.saves != 0 {
		t.Errorf("booked %+v for nothing", p.store.kept)
	}
}

func TestParseLimitsSaysWhatIsWrong(t *testing.T) {
	mint := usdc.String()
	cases := map[string]struct {
		texts []string
		says  string
	}{
		"no amount":          {[]string{"SOL"}, "no amount"},
		"no decimals":        {[]string{mint + "=5"}, "decimals are missing"},
		"a symbol":           {[]string{"USDC:6=5"}, "not an address"},
		"too many decimals":  {[]string{mint + ":13=5"}, "up to 12"},
		"a negative amount":  {[]string{mint + ":6=-5"}, "decimal number"},
		"too fine an amount": {[]string{mint + ":6=0.0000001"}, "more than 6 decimals"},
		"one mint twice":     {[]string{usdcCap("1"), usdcCap("2")}, "twice"},
		"SOL twice":          {[]string{"SOL=1", "SOL=2"}, "twice"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := signer.ParseLimits(tc.texts)
			if !errors.Is(err, signer.ErrLimits) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "SOL=0.5") {
				t.Errorf("got %v, want one that says %q and how to write it", err, tc.says)
			}
		})
	}
	limits, err := signer.ParseLimits([]string{"SOL=0", " " + usdcCap("500.5")})
	if err != nil {
		t.Fatal(err)
	}
	want := signer.Limits{Lamports: new(money.Amount), Tokens: map[chain.Address]signer.Cap{usdc: {Units: 500_500_000, Decimals: 6}}}
	if diff := cmp.Diff(want, limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}
