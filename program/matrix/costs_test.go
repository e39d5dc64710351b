// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
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
	l := w.newLease("costs", 10_000_000)
	row("open", w.buyer, w.open(l).build())
	row("claim, with a burn", w.supplier, w.voucher(l, 1_000_000), w.claim(w.supplier, l, 1_000_000).build())
	row("claim again", w.supplier, w.voucher(l, 2_000_000), w.claim(w.supplier, l, 2_000_000).build())
	row("close by the supplier", w.supplier, w.close(w.supplier, l).build())

	l = w.newLease("no burn", 10_000_000)
	l.burn = 0
	w.must(w.buyer, w.open(l).build())
	row("claim, nothing burned", w.supplier, w.voucher(l, 1_000_000), w.claim(w.supplier, l, 1_000_000).build())
	if err := w.sim.WarpTime(w.t.Context(), 3700e9); err != nil {
		w.t.Fatal(err)
	}
	w.tick()
	row("close by the buyer after the deadline", w.buyer, w.close(w.buyer, l).build())
	return table.String()
}
