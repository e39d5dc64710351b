// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
)

// TestCosts measures every instruction and compares the table with the one in the documentation.
func TestCosts(t *testing.T) {
	for name, elf := range programs(t) {
		t.Run(name, func(t *testing.T) {
			table := newWorld(t, elf).costs()
			t.Logf("\n%s", table)
			if name != "v0" {
				return // The documentation is about the program that is deployed by default.
			}
			page, err := os.ReadFile(filepath.Join("..", "..", "docs", "program.md"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(page), table) {
				t.Errorf("docs/program.md does not have this table:\n%s", table)
			}
		})
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
