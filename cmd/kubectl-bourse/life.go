// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/money"
)

// life is a job with everything that happened to it.
type life struct {
	jobLine
	Deposit  string  `json:"deposit,omitempty"`  // of all parts
	Deadline string  `json:"deadline,omitempty"` // when anybody may refund the buyer; of the first part
	Program  string  `json:"programID,omitempty"`
	Events   []event `json:"events"`
}

// event is one thing that happened to a job.
type event struct {
	At          metav1.Time              `json:"at"`
	What        string                   `json:"what"`
	Detail      string                   `json:"detail,omitempty"`
	Transaction boursev1.SolanaSignature `json:"transaction,omitempty"`
}

// readSettlements reads what the chain did for a job.
func (r *jobRecords) readSettlements(ctx context.Context, job *boursev1.ComputeJob) error {
	var list boursev1.SettlementList
	err := r.hub.List(ctx, &list, client.InNamespace(boursev1.PublicNamespace), client.MatchingFields{"spec.job.name": job.Name})
	if err := r.may("settlements", err); err != nil {
		return err
	}
	r.settlements = list.Items
	return nil
}

func (r *jobRecords) life(job *boursev1.ComputeJob) (*life, error) {
	l := &life{jobLine: r.line(job)}
	l.add(job.CreationTimestamp, "asked", asked(job), "")
	for i := range r.leases {
		if lease := &r.leases[i]; lease.Spec.Job.UID == string(job.UID) {
			if err := r.tell(l, lease); err != nil {
				return nil, fmt.Errorf("lease %s: %w", lease.Name, err)
			}
		}
	}
	slices.SortStableFunc(l.Events, func(a, b event) int { return a.At.Compare(b.At.Time) })
	return l, r.addDeposit(l, job)
}

// tell tells what happened to a lease of the job. Of several parts, each says which it is.
func (r *jobRecords) tell(l *life, lease *boursev1.GPULease) error {
	token, err := contract.Token(&lease.Spec.Payment)
	if err != nil {
		return err
	}
	before := len(l.Events)
	deposit := token.Format(money.Amount(max(0, lease.Spec.Payment.Deposit)))
	l.add(lease.CreationTimestamp, "matched", fmt.Sprintf("offer %s of %s at %s USD, lease %s",
		lease.Spec.Offer, cmp.Or(r.suppliers[lease.Namespace].called(), lease.Namespace), lease.Spec.Payment.PriceUSD, lease.Name), "")
	l.addLease(lease)
	l.addVoucher(r.voucher(lease), deposit)
	l.addSettlements(r.settlements, lease)
	if part := lease.Spec.Part; part != nil {
		for i := range l.Events[before:] {
			told := &l.Events[before+i]
			told.Detail = fmt.Sprintf("part %d: %s", value(part.Index), told.Detail)
		}
	}
	return nil
}

// addDeposit says what the escrows of the job's leases were given.
func (r *jobRecords) addDeposit(l *life, job *boursev1.ComputeJob) error {
	var whole money.Amount
	for i, part := range listing.Parts(job) {
		lease := r.lease(part.Lease)
		if lease == nil {
			l.Deposit = "" // the sum of some would mislead
			return nil
		}
		token, err := contract.Token(&lease.Spec.Payment)
		if err != nil {
			return fmt.Errorf("lease %s: %w", lease.Name, err)
		}
		whole += money.Amount(max(0, lease.Spec.Payment.Deposit))
		l.Deposit = token.Format(whole)
		if i == 0 {
			l.Program, l.Deadline = string(lease.Spec.Escrow.ProgramID), lease.Spec.Escrow.Deadline.UTC().Format(time.RFC3339)
		}
	}
	return nil
}

func asked(job *boursev1.ComputeJob) string {
	models := make([]string, len(job.Spec.GPUs.Models))
	for i, model := range job.Spec.GPUs.Models {
		models[i] = string(model)
	}
	return fmt.Sprintf("%d × %d %s for %s, at most %s USD per GPU-hour and %s USD in all, paid in %s", job.Spec.GPUs.Workers,
		max(1, job.Spec.GPUs.PerWorker), strings.Join(models, " or "), time.Duration(job.Spec.DurationSeconds)*time.Second,
		job.Spec.Bid.MaxPriceUSD, job.Spec.Bid.BudgetUSD, job.Spec.Bid.Token)
}

func (l *life) add(at metav1.Time, what, detail string, transaction boursev1.SolanaSignature) {
	if !at.IsZero() {
		l.Events = append(l.Events, event{at, what, detail, transaction})
	}
}

// addLease tells what the supplier did.
func (l *life) addLease(lease *boursev1.GPULease) {
	for _, step := range []struct{ condition, yes, no string }{
		{boursev1.LeaseAccepted, "accepted", "refused"},
		{boursev1.LeaseFunded, "verified", "not funded"},
		{boursev1.LeaseRunning, "running", ""}, // what ended is told by the end
	} {
		found := meta.FindStatusCondition(lease.Status.Conditions, step.condition)
		switch {
		case found == nil:
		case found.Status == metav1.ConditionTrue:
			l.add(found.LastTransitionTime, step.yes, found.Message, "")
		case found.Status == metav1.ConditionFalse && step.no != "":
			l.add(found.LastTransitionTime, step.no, found.Message, "")
		}
	}
	if notice := lease.Status.Notice; notice != nil {
		l.add(notice.Since, "notice", fmt.Sprintf("%s; usable until %s", notice.Message, notice.Until.UTC().Format(time.TimeOnly)), "")
	}
	if end := lease.Status.End; end != nil {
		l.add(end.At, "ended", fmt.Sprintf("%s, by the %s: %s", end.Reason, strings.ToLower(string(end.Party)), end.Message), "")
	}
	if tx := lease.Status.Transaction; tx != nil && tx.State != boursev1.TransactionLanded {
		settled := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseSettled)
		if settled != nil {
			l.add(settled.LastTransitionTime, strings.ToLower(string(tx.Purpose)), inFlight(tx), tx.Signature)
		}
	}
}

// inFlight says how a transaction fares that the chain has not taken.
func inFlight(tx *boursev1.Transaction) string {
	if tx.State == boursev1.TransactionFailed {
		return "refused by the chain: " + tx.Error
	}
	return "signed, and on its way"
}

// addVoucher tells what the buyer did.
func (l *life) addVoucher(voucher *boursev1.Voucher, deposit string) {
	if voucher == nil {
		return
	}
	at := voucher.CreationTimestamp
	if voucher.Spec.DepositedAt != nil {
		at = *voucher.Spec.DepositedAt
	}
	if tx := voucher.Spec.Deposit; tx != nil {
		detail := deposit
		if tx.State != boursev1.TransactionLanded {
			detail += " " + inFlight(tx)
		}
		l.add(at, "deposit", detail, tx.Signature)
	}
	if voucher.Spec.Refusal != "" {
		l.add(at, "not paid", voucher.Spec.Refusal, "")
	}
}

// addSettlements tells what the chain did, as the market has recorded it.
func (l *life) addSettlements(all []boursev1.Settlement, lease *boursev1.GPULease) {
	for i := range all {
		s := &all[i].Spec
		if s.Lease == (boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}) {
			l.add(s.Time, strings.ToLower(string(s.Kind)), s.Amount, s.Transaction)
		}
	}
}

// print prints the life for people.
func (l *life) print(to io.Writer, now time.Time) error {
	const label = 12
	var out strings.Builder
	say := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&out, "%-*s%s\n", label, name, wrapped(text, label))
		}
	}
	name := l.Name + " in " + l.Namespace
	if l.Origin != "" {
		name = l.Origin + ", in the hub " + name
	}
	say("Job", name)
	say("State", fmt.Sprintf("%s, for %s", l.State, ago(l.Since.Time, now)))
	say("", l.Message)
	for i, part := range l.Parts {
		if len(l.Parts) > 1 {
			say(fmt.Sprintf("Part %d", i), fmt.Sprintf("%d of the %d GPUs", part.GPUs, l.GPUs))
		}
		text := part.Supplier.called()
		if part.Supplier.Name != "" {
			text += ", in " + part.Supplier.Namespace
		}
		say("Supplier", text)
		say("Offer", strings.Join(slices.DeleteFunc([]string{part.Offer, string(part.Region), fmt.Sprintf("%d %s", part.GPUs, l.Model)}, func(s string) bool { return s == "" }), ", "))
		say("Price", fmt.Sprintf("%s USD per GPU-hour, paid in %s", part.PriceUSD, l.Token))
		say("Lease", part.Lease)
		if part.Escrow != "" {
			say("Escrow", string(part.Escrow))
		}
	}
	if len(l.Parts) > 0 {
		say("Used", fmt.Sprintf("%s GPU-hours, %s paid of a deposit of %s", cmp.Or(l.GPUHours, "0.00"), cmp.Or(l.Paid, "nothing"), cmp.Or(l.Deposit, "?")))
	}
	say("Open until", l.Deadline)
	say("Program", l.Program)
	out.WriteByte('\n')
	const when, what = 22, 12
	for _, e := range l.Events {
		fmt.Fprintf(&out, "%-*s%-*s%s\n", when, e.At.UTC().Format(time.RFC3339), what, e.What, wrapped(e.Detail, when+what))
		if e.Transaction != "" {
			fmt.Fprintf(&out, "%-*s%s\n", when, "", e.Transaction)
		}
	}
	_, err := io.WriteString(to, out.String())
	return err
}
