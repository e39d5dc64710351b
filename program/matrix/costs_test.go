// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
)

var updateCosts = flag.Bool("update", false, "write the measured costs into the documentation")

// The costs are between two comments of this page.
var (
	costsPage          = filepath.Join("..", "..", "docs", "money.md")
	costsFrom, costsTo = "<!-- costs: begin -->\n", "<!-- costs: end -->\n"
)

// TestCosts measures every instruction and compares the table with the one in the documentation, or writes it there.
func TestCosts(t *testing.T) {
	for name, elf := range programs(t) {
		t.Run(name, func(t *testing.T) {
			table := newWorld(t, elf).costs()
			t.Logf("\n%s", table)
			if name != "v0" {
				return // The documentation is about the program that is deployed by default.
			}
			if *updateCosts {
				writeCosts(t, table)
			}
			if _, documented, _ := readCosts(t); documented != table {
				t.Errorf("%s has another table; -update writes this one:\n%s", costsPage, table)
			}
		})
	}
}

// readCosts returns the page in three parts, of which the second is the table.
func readCosts(t *testing.T) (before, table, after string) {
	t.Helper()
	page, err := os.ReadFile(costsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), costsFrom)
	table, after, ended := strings.Cut(rest, costsTo)
	if !begun || !ended {
		t.Fatalf("%s has no %q and %q", costsPage, costsFrom, costsTo)
	}
	return before, table, after
}

func writeCosts(t *testing.T, table string) {
	t.Helper()
	before, _, after := readCosts(t)
	if err := os.WriteFile(costsPage, []byte(before+costsFrom+table+costsTo+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// costs returns what the instructions cost, as a Markdown table.
func (w *world) costs() string {
	w.t.Helper()
	var table strings.Builder
	table.WriteString("| Transaction | Compute units | Bytes | Signatures | Fee (lamports) | Rent (lamports) |\n|---|--:|--:|--:|--:|--:|\n")
	row := func(name string, payer key, instructions ...solana.Instruction) {
		o := w.must(payer, instructions...)
		checks := o.fee/5000 - uint64(o.signatures)
		fmt.Fprintf(&table, "| %s | %d | %d | %d + %d | %d | %d |\n", name, o.units, o.bytes, o.signatures, checks, o.fee, o.paid-int64(o.fee))
	}
	w.marketCosts(row)
	l := w.newLease("costs", 10_000_000)
	row("open", w.buyer, w.open(l).build())
	row("claim, with a burn", w.supplier, w.voucher(l, 1_000_000), w.claim(w.supplier, l, 1_000_000).build())
	row("claim again", w.supplier, w.voucher(l, 2_000_000), w.claim(w.supplier, l, 2_000_000).build())
	row("close by the supplier", w.supplier, w.close(w.supplier, l).build())

	w.disputeCosts(row)
	l = w.newLease("no burn", 10_000_000)
	l.burn = 0
	w.must(w.buyer, w.open(l).build())
	row("claim, nothing burned", w.supplier, w.voucher(l, 1_000_000), w.claim(w.supplier, l, 1_000_000).build())
	w.warp(3700)
	row("close by the buyer after the deadline", w.buyer, w.close(w.buyer, l).build())
	w.stakeCosts(row)
	return table.String()
}

// measure sends a transaction and adds a row to the table.
type measure func(name string, payer key, instructions ...solana.Instruction)

func (w *world) marketCosts(row measure) {
	w.t.Helper()
	m := w.marketOf(w.newKey())
	for m.bump != 255 {
		m = w.marketOf(w.newKey())
	}
	w.must(w.admin, system.NewTransferInstruction(solana.LAMPORTS_PER_SOL, w.admin, m.authority).Build())
	row("config create", m.authority, w.createMarket(m).build())
	m.maxSlash++
	row("config propose", m.authority, w.propose(m).build())
	w.warp(2*hour + 60)
	row("config apply", w.stranger, w.apply(m).build())
}

func (w *world) disputeCosts(row measure) {
	w.t.Helper()
	l := w.newLease("dispute", 10_000_000)
	l.arbiterCap, l.disputeDelay, l.arbiter = 2000, 1000, w.arbiter
	row("open, with arbitration", w.buyer, w.open(l).build())
	row("top up", w.buyer, w.topUp(l, 1_000_000).build())
	row("extend", w.buyer, w.extend(l, l.deadline+hour).build())
	row("dispute", w.supplier, w.disputeFor(l, 1_000_000).build())
	w.warp(1100)
	row("award, with a burn", w.arbiter, w.awardFor(l, 1_000_000).build())
}
