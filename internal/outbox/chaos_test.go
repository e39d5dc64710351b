// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/signer"
)

// seeds is how many schedules the simulation plays; the first seed is fixed, so that a failure can be repeated.
var seeds = flag.Uint64("seeds", 60, "schedules of the chaos test")

const intents = 6

// intent is one payment and what survives a crash of it: the stored record and the verdict.
type intent struct {
	to       chain.Address
	record   *Record
	done     bool
	attempts int32
}

// mutant changes one rule of the outbox into a plausible wrong one.
type mutant struct {
	chain         func(*chaintest.Fake) Chain
	resignOnError bool
	sendFirst     bool   // sends before the record is stored
	unasked       string // a method that it never calls
	from          uint64 // the first schedule to play: rare misfortunes need not be searched for in every run
}

func faithful(fake *chaintest.Fake) Chain { return fake }

// chaos plays one schedule: everything that can go wrong goes wrong, in an order that the seed decides.
type chaos struct {
	random  *rand.Rand
	fake    *chaintest.Fake
	on      Chain
	mutant  mutant
	payer   *signer.Keypair
	intents []*intent
	calm    bool
	crashes int
}

func newChaos(seed uint64, changed mutant) *chaos {
	payer := wallet("payer")
	c := &chaos{random: rand.New(rand.NewPCG(seed, 0)), fake: newChain(payer), mutant: changed, payer: payer}
	c.on = changed.chain(c.fake)
	for i := range intents {
		c.intents = append(c.intents, &intent{to: wallet(fmt.Sprint("to ", i)).PublicKey()})
	}
	c.fake.Faults(c.fault)
	return c
}

func (c *chaos) one(in int) bool { return !c.calm && c.random.IntN(in) == 0 }

// fault decides what goes wrong with one call.
func (c *chaos) fault(method string) chaintest.Fault {
	if method == c.mutant.unasked {
		return chaintest.Fault{}
	}
	fault := chaintest.Fault{Refuse: c.one(8), LoseReply: c.one(8)}
	if c.one(6) {
		fault.Behind = c.random.Uint64N(200)
	}
	if method == "Send" {
		fault.Drop = c.one(2)
		if c.one(4) {
			fault.Delay = c.random.Uint64N(175)
		}
	}
	return fault
}

// crash is a point where the process may die: what was not stored is gone.
func (c *chaos) crash() bool {
	if c.one(10) {
		c.crashes++
		return true
	}
	return false
}

// sign prepares a record and stores it. It returns false if the pass ends there.
func (c *chaos) sign(t *testing.T, of *intent) bool {
	t.Helper()
	record, err := Prepare(t.Context(), c.on, c.payer, "pay", pay(c.payer.PublicKey(), of.to, 1_000), of.attempts+1)
	if err != nil || !c.mutant.sendFirst && c.crash() {
		return false
	}
	if c.mutant.sendFirst {
		if _, err := Drive(t.Context(), c.on, record); err != nil || c.crash() {
			return false
		}
	}
	of.record, of.attempts = &record, record.Attempt
	return !c.crash()
}

// step lets the controller of one intent make one pass.
func (c *chaos) step(t *testing.T, of *intent) {
	t.Helper()
	if of.record == nil && !c.sign(t, of) {
		return
	}
	outcome, err := Drive(t.Context(), c.on, *of.record)
	if err != nil {
		if c.mutant.resignOnError {
			of.record = nil
		}
		return
	}
	if outcome.State == Pending || c.crash() {
		return
	}
	switch outcome.State {
	case Landed:
		of.done = true
	case Expired:
		of.record = nil
	default:
		t.Fatalf("outcome %+v", outcome)
	}
}

// play runs the schedule, then calms everything down and lets all passes end. It returns what was wrong in the end.
func (c *chaos) play(t *testing.T) (doubled, unpaid int) {
	t.Helper()
	for range 500 {
		of := c.intents[c.random.IntN(intents)]
		if !of.done {
			c.step(t, of)
		}
		if c.random.IntN(3) == 0 {
			c.fake.Tick(c.random.IntN(8))
		}
		if c.one(25) {
			c.fake.Rollback(1+c.random.IntN(finalLag), c.random.IntN(2) == 0)
		}
	}
	c.calm = true
	for range 400 {
		for _, of := range c.intents {
			if !of.done {
				c.step(t, of)
			}
		}
		c.fake.Tick(1)
	}
	c.fake.Tick(200) // every copy that is still on its way lands or expires
	for _, of := range c.intents {
		switch paid := c.fake.Balance(of.to); {
		case paid > 1_000:
			doubled++
		case paid < 1_000 || !of.done:
			unpaid++
		}
	}
	return doubled, unpaid
}

func TestChaosLandsEverythingExactlyOnce(t *testing.T) {
	crashes, attempts := 0, int32(0)
	for seed := range *seeds {
		c := newChaos(seed, mutant{chain: faithful})
		if doubled, unpaid := c.play(t); doubled != 0 || unpaid != 0 {
			t.Fatalf("seed %d: %d paid twice, %d not paid", seed, doubled, unpaid)
		}
		crashes += c.crashes
		for _, of := range c.intents {
			attempts += of.attempts - 1
		}
	}
	t.Logf("%d schedules of %d payments, %d crashes, %d signed anew after proven expiry", *seeds, intents, crashes, attempts)
	if crashes == 0 || attempts == 0 {
		t.Error("the schedules were too calm to show anything")
	}
}

// confirmedTruster takes a confirmed status for settled.
type confirmedTruster struct{ *chaintest.Fake }

func (m confirmedTruster) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	status, err := m.Fake.Status(ctx, signature)
	if status.Commitment != "" {
		status.Commitment = chain.Finalized
	}
	return status, err
}

// lagIgnorer believes a node that has not seen the slots in question.
type lagIgnorer struct{ *chaintest.Fake }

func (m lagIgnorer) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	status, err := m.Fake.Status(ctx, signature)
	status.Slot = ^uint64(0)
	return status, err
}

// Each plausible wrong rule must be caught by the same simulation.
func TestChaosCatchesMutants(t *testing.T) {
	cases := map[string]mutant{
		"signs anew on an error":       {chain: faithful, resignOnError: true},
		"sends before it has stored":   {chain: faithful, sendFirst: true},
		"trusts a confirmed status":    {chain: func(f *chaintest.Fake) Chain { return confirmedTruster{f} }},
		"trusts the tip's height":      {chain: func(f *chaintest.Fake) Chain { return tipTruster{f} }, unasked: "FinalizedHeight", from: 811},
		"trusts a node that is behind": {chain: func(f *chaintest.Fake) Chain { return lagIgnorer{f} }, from: 168},
	}
	for name, changed := range cases {
		t.Run(name, func(t *testing.T) {
			for seed := changed.from; seed < changed.from+1_000; seed++ {
				if doubled, unpaid := newChaos(seed, changed).play(t); doubled+unpaid > 0 {
					t.Logf("caught by seed %d: %d paid twice, %d not paid", seed, doubled, unpaid)
					return
				}
			}
			t.Error("not caught")
		})
	}
}
