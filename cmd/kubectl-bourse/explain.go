// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
)

const explainLong = `Says of every offer in the market whether a job could have it now, and if not, each rule that stands against it.

It exits with 0 when an offer fits, with 1 when none does, and with 2 when that could not be found out.`

func newExplain(hub *hubFlags, now func() time.Time) *cobra.Command {
	a := &asks{hub: hub, now: now}
	cmd := &cobra.Command{
		Use:     "explain [JOB]",
		Short:   "Say why each offer fits a job or does not",
		Long:    explainLong,
		Example: "  kubectl bourse explain train -n my-team\n  kubectl bourse explain -f job.yaml --most 1000",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.read(cmd.Context(), cmd, nameFrom(args), a.present)
			if err != nil {
				return err
			}
			return q.explain(cmd.OutOrStdout(), a.most)
		},
	}
	a.addFile(cmd.Flags())
	a.addFrom(cmd.Flags())
	a.addMost(cmd.Flags(), 40, "how many offers are shown, the nearest first")
	return cmd
}

// explain prints what became of the job, and every offer. It returns errNo if none fits.
func (q *question) explain(to io.Writer, most int) error {
	decision := q.book.Judge(&q.demand)
	if matched := meta.FindStatusCondition(q.job.Status.Conditions, boursev1.JobMatched); matched != nil && q.job.Status.Lease != nil {
		fmt.Fprintf(to, "Job %s has %s: %s.\nAs the market is now, without that:\n\n", q.job.Name, leases(q.job), strings.TrimSuffix(matched.Message, "."))
	}
	verdict := decision.Explain()
	if decision.Won() != nil {
		verdict = "The job would get " + gets(&decision) + ": " + verdict
	}
	fmt.Fprintf(to, "%s.\n\n", verdict)
	verdicts := q.book.Survey(&q.demand)
	table := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "OFFER\tMODEL\tREGION\tUSD/H\tFREE\tVERDICT")
	for _, v := range verdicts[:min(most, len(verdicts))] {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", v.Offer.Name, v.Offer.Model, v.Offer.Region, v.Offer.Price, v.Offer.Free(), verdictOf(&v))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more := len(verdicts) - most; more > 0 {
		fmt.Fprintf(to, "and %d more\n", more)
	}
	if decision.Won() == nil {
		return errNo
	}
	return nil
}

// leases names the job's leases.
func leases(job *boursev1.ComputeJob) string {
	parts := listing.Parts(job)
	names := make([]string, len(parts))
	for i, part := range parts {
		names[i] = fmt.Sprintf("lease %s of %s", part.Lease.Name, part.Lease.Namespace)
	}
	return strings.Join(names, ", ")
}

// verdictOf says in a few words what an offer is to the job.
func verdictOf(v *book.Verdict) string {
	if len(v.Breaks) == 0 {
		return fmt.Sprintf("fits, and counts as %s", v.Score)
	}
	reasons := make([]string, len(v.Breaks))
	for i, rule := range v.Breaks {
		reasons[i] = fmt.Sprintf("%s: %s", rule, v.Has[i])
	}
	return strings.Join(reasons, "; ")
}
