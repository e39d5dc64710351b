// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes what agreed as two tables, for people.
func (r Report) Print(to io.Writer) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if len(r.Leases) > 0 {
		fmt.Fprintln(table, "LEASE\tDEPOSIT\tSUPPLIER\tTREASURY\tBURNED\tREFUNDED\tESCROW\tRECORDS")
	}
	for _, line := range r.Leases {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.Name, line.Token.Format(line.Deposit), line.Token.Format(line.Supplier),
			line.Token.Format(line.Treasury), line.Token.Format(line.Burned), line.Token.Format(line.Refunded), line.state(), line.records())
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	if len(r.Burns) > 0 {
		fmt.Fprintln(to)
		fmt.Fprintln(table, "FEE BURN\tCLAIMS\tBURNED BY CLAIMS\tFEES TO TREASURY\tBOUGHT AND BURNED")
	}
	for _, line := range r.Burns {
		bought := line.Bought
		if bought == "" {
			bought = "-"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", line.Name, line.Claims, line.Token.Format(line.Burned), line.Token.Format(line.Treasury), bought)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func (l LeaseLine) state() string {
	switch {
	case l.Closed:
		return "closed"
	case l.Opened:
		return "open"
	default:
		return "never opened"
	}
}

func (l LeaseLine) records() string {
	if l.Waiting > 0 {
		return fmt.Sprintf("%d agree, %d under way", l.Settlements, l.Waiting)
	}
	return fmt.Sprintf("%d agree", l.Settlements)
}

// Summary says in one sentence what was found to agree.
func (r Report) Summary() string {
	settlements := 0
	for _, line := range r.Leases {
		settlements += line.Settlements
	}
	return fmt.Sprintf("All agree with the chain: leases %d, settlements %d, fee burns %d.", len(r.Leases), settlements, len(r.Burns))
}
