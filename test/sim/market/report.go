// SPDX-License-Identifier: Apache-2.0

package market

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/price"
)

// Report is what came of a market.
type Report struct {
	Jobs         int
	GPUs         int
	Served       int
	Left         int   // jobs that found nothing in time
	AskedSeconds int64 // GPU-seconds that jobs asked for
	SoldSeconds  int64 // GPU-seconds that they got
	Paid         money.USD
	Earned       []money.USD // by supplier, least first

	waits   []int64
	indexes []uint32
	steps   int64
	leased  int64 // summed over steps
	broken  int64 // free GPUs of nodes that are not wholly free, summed over steps
	idle    int64 // free GPUs, summed over steps
}

func (r *Report) serve(wait, seconds int64, paid money.USD) {
	r.Served++
	r.SoldSeconds += seconds
	r.Paid += paid
	r.waits = append(r.waits, wait)
}

func (r *Report) observe(w *world) {
	r.steps++
	r.indexes = append(r.indexes, w.index)
	for i := range w.supply {
		for _, free := range w.supply[i].free {
			r.idle += int64(free)
			r.leased += int64(perNode - free)
			if free < perNode {
				r.broken += int64(free)
			}
		}
	}
}

// Print writes the report as a table.
func (r *Report) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, form string, values ...any) { fmt.Fprintf(table, name+"\t"+form+"\n", values...) }
	const hour = 3600
	row("jobs", "%d on %d GPUs", r.Jobs, r.GPUs)
	row("served", "%d (%s); %d left after waiting", r.Served, share(int64(r.Served), int64(r.Jobs)), r.Left)
	row("GPU-hours sold", "%d of %d (%s)", r.SoldSeconds/hour, r.AskedSeconds/hour, share(r.SoldSeconds, r.AskedSeconds))
	row("GPUs leased, on average", "%s", share(r.leased, r.leased+r.idle))
	row("free GPUs on broken nodes", "%s", share(r.broken, r.idle))
	row("wait p50, p90, p99", "%ds, %ds, %ds", quantile(r.waits, 50), quantile(r.waits, 90), quantile(r.waits, 99))
	mean := money.USD(0)
	if r.SoldSeconds >= hour {
		mean = r.Paid / money.USD(r.SoldSeconds/hour)
	}
	row("mean price", "%s USD a GPU-hour", cents(mean))
	row("income", "%s USD; suppliers p10, p50, p90: %s, %s, %s", cents(r.Paid),
		cents(quantile(r.Earned, 10)), cents(quantile(r.Earned, 50)), cents(quantile(r.Earned, 90)))
	index := func(percent int) string {
		return fmt.Sprintf("%.2f", float64(quantile(r.indexes, percent))/price.PPM)
	}
	row("index p1, p50, p99", "%s, %s, %s", index(1), index(50), index(99))
	return table.Flush()
}

func share(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// cents rounds to cents, down.
func cents(usd money.USD) string { return (usd - usd%10_000_000).String() }

// quantile returns the value below which so many of a hundred lie; the values are in order.
func quantile[T any](values []T, percent int) T {
	var none T
	if len(values) == 0 {
		return none
	}
	return values[(len(values)-1)*percent/100]
}
