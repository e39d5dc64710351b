// SPDX-License-Identifier: Apache-2.0

// Package money plays the production code that moves money against everything that can go wrong, in schedules that follow from a seed:
// the controllers of buyer, supplier and settlement with the outbox, the escrow and the meter, on an API server and a chain in memory.
package money

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

var (
	seeds  = flag.Uint64("seeds", 300, "how many schedules are played")
	only   = flag.Int64("seed", -1, "play this schedule alone, and print its trace")
	wrongs = flag.String("mutant", "", "play that schedule under this wrong rule")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400)       // a schedule is short and leaves nothing behind
	log.SetLogger(logr.Discard()) // the controllers have nothing to say that the trace does not
	os.Exit(m.Run())
}

// TestMoneyIsNeitherLostNorPaidTwice is the simulation. Whatever the nodes say and whatever is lost: no step pays twice, loses a base
// unit or costs more than was metered and deposited, and once the faults stop, everything due is paid and recorded.
func TestMoneyIsNeitherLostNorPaidTwice(t *testing.T) {
	if *only >= 0 {
		replay(t, uint64(*only))
		return
	}
	all := playAll(t, 0, *seeds, under(rule{}), never)
	report(t, all)
	for _, f := range faults() {
		t.Logf("%6d × %s", all.fired[f], f)
		if all.fired[f] == 0 {
			t.Errorf("%s: it never happened, so nothing was shown about it", f)
		}
	}
	if all.funded == 0 || all.together == 0 {
		t.Errorf("%d leases were ever paid, and %d of them were parts of a job", all.funded, all.together)
	}
}

// replay plays one schedule and shows what happened in it.
func replay(t *testing.T, seed uint64) {
	t.Helper()
	with := rule{}
	for _, m := range mutants() {
		if m.name == *wrongs {
			with = m
		}
	}
	if with.name != *wrongs {
		t.Fatalf("there is no mutant %q", *wrongs)
	}
	w := played(t, seed, with, nil, t.Output())
	t.Logf("trace %016x of %d passes with %d steps", w.hash.Sum64(), w.passes, w.steps)
	if w.problem != "" {
		t.Error(w.problem)
	}
}

// report prints what the schedules came to, and how each that failed can be seen again.
func report(t *testing.T, all *outcome) {
	t.Helper()
	doubled, unpaid, drift := all.many("double pay"), all.many("unpaid"), all.many("drift")
	t.Logf("%d schedules with %d passes, %d steps and %d leases that were paid; traces %016x", all.schedules, all.passes, all.steps, all.funded, all.traces)
	t.Logf("double pays %d, unpaid %d, drift %d, other %d", doubled, unpaid, drift, len(all.failures)-doubled-unpaid-drift)
	t.Logf("all was done %s after the faults at the latest, or %.0f times the life of a blockhash (seed %d)",
		all.slowest, all.slowest.Seconds()/lifetime.Seconds(), all.slowestSeed)
	for _, f := range all.failures {
		t.Errorf("seed %d: %s; replay: make sim-money SEED=%d", f.seed, f.what, f.seed)
	}
}

// Over nodes that do not lie the rule of the outbox is enough by itself: nothing is paid twice even by a program that would do so when
// asked twice. What lying nodes and lost journals cost is what the receipt on chain is for.
func TestTheRuleAloneIsEnoughOverHonestNodes(t *testing.T) {
	report(t, playAll(t, 0, max(50, *seeds/10), under(rule{honest: true, program: plain()}), never))
}

// Each step of a lease's life, in turn, is the one at which the process dies before or after it, or whose write or answer is lost.
func TestEveryStepMayFail(t *testing.T) {
	calm := played(t, 0, rule{}, &strike{}, nil)
	if calm.problem != "" || calm.funded != 1 {
		t.Fatalf("without faults: %s", calm.problem)
	}
	each := []fault{crashBefore, crashAfter, lostWrite, lostAnswer}
	all := playAll(t, 0, uint64(calm.steps*len(each)), func(t *testing.T, number uint64) *world {
		t.Helper()
		at := &strike{step: int(number)/len(each) + 1, fault: each[number%uint64(len(each))]}
		return played(t, 0, rule{}, at, nil)
	}, never)
	t.Logf("%d steps × %v: %d schedules, %d failed", calm.steps, each, all.schedules, len(all.failures))
	for _, f := range all.failures {
		t.Errorf("step %d, %s: %s", f.seed/4+1, each[f.seed%4], f.what)
	}
	for _, f := range each {
		if all.fired[f] == 0 {
			t.Errorf("%s never happened", f)
		}
	}
}

// Each plausible wrong rule is caught by the same schedules.
func TestMutantsAreCaught(t *testing.T) {
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			caught := func(o *outcome) bool { return len(o.failures) > 0 }
			all := playAll(t, m.from, m.from+2000, under(m), caught)
			if !caught(all) {
				t.Fatalf("%s: not caught by %d schedules", m.name, all.schedules)
			}
			first := all.failures[0]
			t.Logf("%s: caught by seed %d: %s", m.name, first.seed, first.what)
			fmt.Fprintf(t.Output(), "replay: make sim-money SEED=%d MUTANT=%q\n", first.seed, m.name)
		})
	}
}

// The same seed is the same schedule, to the last line of its trace.
func TestTheSameSeedIsTheSameSchedule(t *testing.T) {
	for seed := range uint64(20) {
		first, second := played(t, seed, rule{}, nil, nil), played(t, seed, rule{}, nil, nil)
		if first.hash.Sum64() != second.hash.Sum64() || first.passes == 0 {
			t.Errorf("seed %d: traces %016x and %016x", seed, first.hash.Sum64(), second.hash.Sum64())
		}
	}
}
