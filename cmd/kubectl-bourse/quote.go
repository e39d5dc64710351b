// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
)

const quoteLong = `Says which offers a job would get now, best first, and what each would cost. Nothing is written anywhere.

It exits with 0 when an offer fits, with 1 when none does, and with 2 when that could not be found out.`

const quoteExample = `  kubectl bourse quote -f job.yaml
  kubectl bourse quote train -n my-team
  kubectl get markets,members,stakepositions,gpuoffers,computejobs,gpuleases -A -o yaml > market.yaml
  kubectl bourse quote -f job.yaml --from market.yaml`

func newQuote(hub *hubFlags, now func() time.Time) *cobra.Command {
	a := &asks{hub: hub, now: now}
	cmd := &cobra.Command{
		Use:     "quote [JOB]",
		Short:   "Say which offers a job would get now, and what it would cost",
		Long:    quoteLong,
		Example: quoteExample,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.read(cmd.Context(), cmd, nameFrom(args), a.present)
			if err != nil {
				return err
			}
			return q.quote(cmd.OutOrStdout(), a.most)
		},
	}
	a.addFile(cmd.Flags())
	a.addFrom(cmd.Flags())
	a.addMost(cmd.Flags(), 10, "how many offers are shown")
	return cmd
}

// quote prints the offers that fit. It returns errNo if there are none.
func (q *question) quote(to io.Writer, most int) error {
	decision := q.book.Judge(&q.demand)
	spec, verb := &q.job.Spec, "fit"
	if decision.Fit == 1 {
		verb = "fits"
	}
	fmt.Fprintf(to, "%s of %d %s job %s: %d × %d GPUs for %s, paid in %s, at most %s USD per GPU-hour.\n\n",
		offers(decision.Fit), decision.Offers, verb, q.job.Name, spec.GPUs.Workers, spec.GPUs.PerWorker,
		time.Duration(spec.DurationSeconds)*time.Second, spec.Bid.Token, spec.Bid.MaxPriceUSD)
	if decision.Won() == nil {
		fmt.Fprintf(to, "%s\n", decision.Explain())
		return errNo
	}
	table := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	split := q.demand.Parts > 1
	if split {
		fmt.Fprint(table, "WORKERS\t")
	}
	fmt.Fprintln(table, "OFFER\tMODEL\tREGION\tUSD/H\tCOUNTS AS\tFREE\tDEPOSIT")
	verdicts := q.book.Survey(&q.demand)
	for _, v := range verdicts[:min(most, decision.Fit)] {
		workers := spec.GPUs.Workers
		if split {
			workers = share(&decision, v.Offer)
			fmt.Fprintf(table, "%d\t", workers)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", v.Offer.Name, v.Offer.Model, v.Offer.Region, v.Offer.Price, v.Score,
			v.Offer.Free(), q.deposit(workers, boursev1.USDPrice(v.Offer.Price.String())))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more := decision.Fit - most; more > 0 {
		fmt.Fprintf(to, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(to, "\nThe job would get %s: %s.\n", gets(&decision), decision.Explain())
	return err
}

// share is how many of the job's workers an offer would have.
func share(decision *book.Decision, offer *book.Offer) int32 {
	for _, fill := range decision.Fills {
		if fill.Offer.Name == offer.Name {
			return int32(fill.Workers) //nolint:gosec // at most the job's
		}
	}
	return 0
}

// gets names the offers that a job would get, with its workers on each if there are several.
func gets(decision *book.Decision) string {
	if len(decision.Fills) == 1 {
		return decision.Won().Name
	}
	names := make([]string, len(decision.Fills))
	for i, fill := range decision.Fills {
		names[i] = fmt.Sprintf("%d of its workers on %s", fill.Workers, fill.Offer.Name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// deposit is what the buyer deposits for so many workers for the whole term at a price, fees and all; what is not used comes back.
func (q *question) deposit(workers int32, price boursev1.USDPrice) string {
	if workers == 0 {
		return "none"
	}
	market := q.market.Market()
	if market == nil {
		return "no market is ready"
	}
	token := listing.Token(market, q.job.Spec.Bid.Token)
	if token == nil {
		return fmt.Sprintf("the market does not take %s", q.job.Spec.Bid.Token)
	}
	priced, err := listing.QuoteFor(q.job, workers, market, token, price)
	if err != nil {
		return err.Error()
	}
	text := priced.Token.Format(priced.Deposit)
	if priced.Deposit > priced.Budget {
		text += ", over the budget"
	}
	return text
}

func offers(n int) string {
	if n == 1 {
		return "1 offer"
	}
	return fmt.Sprintf("%d offers", n)
}
