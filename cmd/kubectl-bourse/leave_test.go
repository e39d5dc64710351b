// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/join"
)

var leftAt = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// leave runs the command, which asks again without delay.
func (b *joinBench) leave(more ...string) (stdout string, err error) {
	b.t.Helper()
	c := &leaveCommand{
		hubAddress: hubAddress{hub: b.url, authority: b.path("ca.crt")}, wallet: b.path("wallet.json"), every: time.Millisecond,
	}
	for _, flag := range more {
		switch flag {
		case "--force":
			c.force = true
		case "--wait":
			c.wait = true
		}
	}
	var out bytes.Buffer
	err = c.run(b.t.Context(), &out)
	return out.String(), err
}

func departure(supplied, bought int32) join.Departure {
	d := join.Departure{Namespace: "member-1", Since: leftAt, Known: true, Supplied: supplied, Bought: bought}
	if supplied+bought > 0 {
		d.Until = leftAt.Add(time.Hour)
	}
	return d
}

func TestLeaveShowsHowFarItIs(t *testing.T) {
	suspended := departure(0, 0)
	suspended.Suspended = true
	cases := map[string]struct {
		flags      []string
		departures []join.Departure
		modes      []join.Mode
		says       []string // in this order, and each once
	}{
		"and does not wait": {
			nil,
			[]join.Departure{departure(2, 1)},
			[]join.Mode{join.WhenSettled},
			[]string{"namespace member-1", "2 leases of your GPUs, 1 of your jobs; at the latest at 2027-03-01T13:00:00Z", "with --wait"},
		},
		"until nothing is left": {
			[]string{"--wait"},
			[]join.Departure{{Namespace: "member-1", Since: leftAt}, departure(2, 1), departure(2, 1), departure(1, 0), departure(0, 0)},
			[]join.Mode{join.WhenSettled, join.Look, join.Look, join.Look, join.Look, join.Look},
			[]string{"counts what is open", "2 leases of your GPUs, 1 of", "1 leases of your GPUs, 0 of", "being removed", "left: nothing"},
		},
		"at once": {
			[]string{"--force", "--wait"},
			[]join.Departure{departure(1, 0)},
			[]join.Mode{join.AtOnce, join.Look},
			[]string{"1 leases of your GPUs", "left: nothing"},
		},
		"of a suspended member, whose entry stays": {
			[]string{"--wait"}, []join.Departure{suspended}, []join.Mode{join.WhenSettled}, []string{"stays suspended"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newJoinBench(t)
			b.departures = tc.departures
			out, err := b.leave(tc.flags...)
			if err != nil {
				t.Fatal(err)
			}
			rest := out
			for _, part := range tc.says {
				at := strings.Index(rest, part)
				if at < 0 || strings.Count(out, part) != 1 {
					t.Fatalf("it does not say %q once and in turn:\n%s", part, out)
				}
				rest = rest[at:]
			}
			if len(b.claims) != len(tc.modes) {
				t.Fatalf("%d claims, want %d", len(b.claims), len(tc.modes))
			}
			for i, claim := range b.claims {
				if claim.Kind != join.Leave || claim.Mode != tc.modes[i] || claim.Wallet != join.Key(b.wallet) {
					t.Errorf("claim %d: %+v", i, claim)
				}
			}
		})
	}
}

func TestLeaveSaysWhyNot(t *testing.T) {
	back := departure(0, 0)
	back.Since = time.Time{}
	cases := map[string]struct {
		err        error
		departures []join.Departure
		says       string
	}{
		"who is no member":               {nil, nil, "NotMember"},
		"a hub that is too busy":         {join.Refuse(join.Busy, "Come back"), nil, "Busy"},
		"who has joined again meanwhile": {nil, []join.Departure{departure(1, 0), back}, "joined again"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newJoinBench(t)
			b.err, b.departures = tc.err, tc.departures
			if out, err := b.leave("--wait"); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want one that says %q:\n%s", err, tc.says, out)
			}
		})
	}
}

func TestLeaveNeedsAHubAndAWallet(t *testing.T) {
	var out, problems bytes.Buffer
	if code := execute(t.Context(), []string{"leave"}, &out, &problems, time.Now); code != exitError || !strings.Contains(problems.String(), "hub") {
		t.Errorf("exit %d: %s", code, problems.String())
	}
}
