// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
)

const replayLong = `Takes the decision that gave a job its offer once more, from the job and the offers as they were, and compares it with the record
that the job holds. The record names its inputs by their digests: from other inputs the decision cannot be taken again, and that is said.

It exits with 0 when the decision is the same, with 1 when it is not, and with 2 when that could not be found out.`

const replayExample = `  kubectl get markets,members,stakepositions,gpuoffers,computejobs,gpuleases -A -o yaml > market.yaml   # before the job is matched
  kubectl get computejob train -n my-team -o yaml > job.yaml             # after it was
  kubectl bourse replay -f job.yaml --from market.yaml`

func newReplay(hub *hubFlags, now func() time.Time) *cobra.Command {
	a := &asks{hub: hub, now: now}
	cmd := &cobra.Command{
		Use:     "replay [JOB]",
		Short:   "Take the decision on a job again, and compare",
		Long:    replayLong,
		Example: replayExample,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.read(cmd.Context(), cmd, nameFrom(args), decidedAt)
			if err != nil {
				return err
			}
			return q.replay(cmd.OutOrStdout())
		},
	}
	a.addFile(cmd.Flags())
	a.addFrom(cmd.Flags())
	return cmd
}

// decidedAt is when the job's record was made.
func decidedAt(job *boursev1.ComputeJob) (time.Time, error) {
	record, err := listing.Record(job)
	if err != nil {
		return time.Time{}, fmt.Errorf("job %s: %w", job.Name, err)
	}
	return record.At, nil
}

// replay prints the record and what it comes to. It returns errNo if they differ.
func (q *question) replay(to io.Writer) error {
	record, err := listing.Record(q.job)
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "Job %s was given %s at %s, by version %d of the formula.\n", q.job.Name, given(&record), record.At.Format(time.RFC3339), record.Formula)
	fmt.Fprintf(to, "  demand    %s\n  book      %s\n  offers    %d, rejected: %s\n  score     %s, decided by %s\n",
		record.Demand, record.Book, record.Offers, orNone(record.Rejected), scores(&record), record.By)
	if record.Next != "" {
		fmt.Fprintf(to, "  next      %s, score %s\n", record.Next, record.NextScore)
	}
	q.book.Expire(record.At)
	differences := book.Replay(record, &q.demand, q.book.Offers())
	if len(differences) == 0 {
		_, err := fmt.Fprintf(to, "\nDecided again from the same %d offers: the same offer, for the same reason.\n", record.Offers)
		return err
	}
	fmt.Fprintf(to, "\nDecided again from these %s, it differs:\n", offers(q.book.Len()))
	for _, difference := range differences {
		fmt.Fprintf(to, "  %s\n", difference)
	}
	return errNo
}

// given names the offers of a record, with the workers on each if there are several.
func given(record *book.Record) string {
	if len(record.Winners) == 1 {
		return "offer " + record.Winners[0].Offer
	}
	names := make([]string, len(record.Winners))
	for i, won := range record.Winners {
		names[i] = fmt.Sprintf("%d workers on offer %s", won.Workers, won.Offer)
	}
	return strings.Join(names, ", ")
}

func scores(record *book.Record) string {
	texts := make([]string, len(record.Winners))
	for i, won := range record.Winners {
		texts[i] = won.Score.String()
	}
	return strings.Join(texts, ", ")
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
