// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Status writes a table of the lab's parts and tells whether all of them run.
func (l *Lab) Status(ctx context.Context, out io.Writer) (bool, error) {
	state, err := Read(l.Dir)
	if err != nil {
		return false, err
	}
	records, err := l.table().List()
	if err != nil {
		return false, err
	}
	running := state.Ready
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "PART\tSTATE\tPID\tLOG")
	for _, record := range records {
		word := "running"
		if !record.Alive() {
			word, running = "ended", false
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", record.Name, word, record.PID, record.Log)
	}
	if err := table.Flush(); err != nil {
		return false, fmt.Errorf("write table: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(state.Clusters)) {
		fmt.Fprintf(out, "cluster %s: %s, KUBECONFIG=%s\n", name, state.Clusters[name].Server, state.Clusters[name].Kubeconfig)
	}
	if state.Chain != nil {
		fmt.Fprintf(out, "chain: %s, program %s\n", state.Chain.RPC, state.Chain.ProgramID)
	}
	if state.Nodes != "" {
		fmt.Fprintf(out, "real nodes: %s\n", state.Nodes)
	}
	if state.Manager != nil {
		fmt.Fprintf(out, "manager: %s/readyz, %s\n", state.Manager.Health, state.Manager.Metrics)
	}
	for _, name := range append(slices.Sorted(maps.Keys(state.Suppliers)), Buyer) {
		if of, apart := state.member(name); apart {
			fmt.Fprintf(out, "member %s: %s/readyz, %s, fault of its link to the hub: %s\n", name, of.Manager.Health, of.Manager.Metrics, of.Link)
		}
	}
	if err := l.isolationStatus(ctx, out, state); err != nil {
		return false, err
	}
	if !state.Ready {
		fmt.Fprintln(out, "the lab did not finish starting")
	}
	return running, nil
}
