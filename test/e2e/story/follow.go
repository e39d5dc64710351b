// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// pollEvery is how often the API is read.
const pollEvery = 250 * time.Millisecond

// Teller prints each fact once, with the time since it began.
type Teller struct {
	out   io.Writer
	now   func() time.Time
	start time.Time
	told  map[string]string
}

// NewTeller tells to out.
func NewTeller(out io.Writer, now func() time.Time) *Teller {
	return &Teller{out: out, now: now, start: now(), told: map[string]string{}}
}

// Say prints a line with the time.
func (t *Teller) Say(format string, args ...any) {
	fmt.Fprintf(t.out, "%7.1fs  %s\n", t.now().Sub(t.start).Seconds(), fmt.Sprintf(format, args...))
}

// Title prints a heading.
func (t *Teller) Title(text string) { fmt.Fprintf(t.out, "\n== %s\n", text) }

// once prints the line when what is known under key has changed.
func (t *Teller) once(key, value, format string, args ...any) {
	if value == "" || t.told[key] == value {
		return
	}
	t.told[key] = value
	t.Say(format, args...)
}

// Table prints what kubectl shows of the hub.
func (t *Teller) Table(ctx context.Context, lab *Lab, args ...string) error {
	return t.TableIn(ctx, lab, hub, args...)
}

// TableIn prints what kubectl shows of one of the clusters.
func (t *Teller) TableIn(ctx context.Context, lab *Lab, cluster string, args ...string) error {
	out, err := lab.KubectlIn(ctx, cluster, args...)
	if err != nil {
		return err
	}
	where := ""
	if cluster != hub {
		where = "--context " + cluster + " "
	}
	fmt.Fprintf(t.out, "\n$ kubectl %s%s\n%s\n", where, strings.Join(args, " "), out)
	return nil
}

// Wait polls until done says so, or the time is up; the error names what was waited for.
func (t *Teller) Wait(ctx context.Context, what string, limit time.Duration, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for %s: %w", what, ctx.Err()), last)
		case <-tick.C:
		}
	}
}

// Job is one ComputeJob whose life is followed, or one part of it.
type Job struct {
	client.ObjectKey
	// Part is which of the job's parts is followed, if it has any.
	Part int
	// Object and Lease are as last read; Lease is nil until the job is matched.
	Object *boursev1.ComputeJob
	Lease  *boursev1.GPULease
}

// Look reads the job, its lease and what belongs to it, and tells what is new.
func (t *Teller) Look(ctx context.Context, lab *Lab, job *Job) error {
	object := &boursev1.ComputeJob{}
	err := lab.In(lab.Orders()).Get(ctx, job.ObjectKey, object)
	switch {
	case err == nil:
		job.Object = object
		t.conditions("job/"+job.Name, object, boursev1.JobMirrored, boursev1.JobAdmitted, boursev1.JobMatched, boursev1.Succeeded)
	case apierrors.IsNotFound(err) && job.Lease != nil:
		t.once("job/"+job.Name, "gone", "%-16s is gone", "job/"+job.Name) // its buyer deleted it; its lease stays on record
	default:
		return fmt.Errorf("get job: %w", err)
	}
	if job.Object.Status.Lease == nil {
		return nil
	}
	ref := *job.Object.Status.Lease
	if parts := job.Object.Status.Parts; job.Part < len(parts) {
		ref = parts[job.Part].Lease
	}
	lease := &boursev1.GPULease{}
	if err := lab.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, lease); err != nil {
		return fmt.Errorf("get lease: %w", err)
	}
	job.Lease = lease
	t.lease(job.title(), lease)
	if err := t.voucher(ctx, lab, job); err != nil {
		return err
	}
	return t.settlements(ctx, lab, job)
}

// title names the job, or the part of it.
func (j *Job) title() string {
	if j.Object != nil && j.Part < len(j.Object.Status.Parts) {
		return fmt.Sprintf("%s, part %d", j.Name, j.Part)
	}
	return j.Name
}

// conditions tells of the conditions whose status or reason is new.
func (t *Teller) conditions(who string, obj interface{ Conditions() *[]metav1.Condition }, kinds ...string) {
	for _, kind := range kinds {
		if c := meta.FindStatusCondition(*obj.Conditions(), kind); c != nil {
			t.once(who+kind, string(c.Status)+c.Reason+c.Message, "%-16s %s %s %s: %s", who, c.Type, mark(c.Status), c.Reason, c.Message)
		}
	}
}

func mark(status metav1.ConditionStatus) string {
	switch status {
	case metav1.ConditionTrue:
		return "✔"
	case metav1.ConditionFalse:
		return "✘"
	default:
		return "…"
	}
}

func (t *Teller) lease(name string, lease *boursev1.GPULease) {
	who := "lease of " + name
	t.conditions(who, lease, boursev1.LeaseAccepted, boursev1.LeaseFunded, boursev1.LeaseRunning, boursev1.Succeeded)
	if u := lease.Status.Usage; u != nil {
		t.once(who+"usage", strconv.FormatInt(u.Sequence, 10), "%-16s metered: record %d, %d GPU-ms in Ready, gross %d base units (%s)", who, u.Sequence, *u.GPUMilliseconds, *u.Gross, u.Final)
	}
	if tx := lease.Status.Transaction; tx != nil {
		t.once(who+"tx", string(tx.Signature)+string(tx.State), "%-16s %s %s: %s", who, tx.Purpose, tx.State, tx.Signature)
	}
}

func (t *Teller) voucher(ctx context.Context, lab *Lab, job *Job) error {
	voucher := &boursev1.Voucher{}
	err := lab.Client.Get(ctx, client.ObjectKey{Namespace: job.Lease.Spec.Job.Namespace, Name: job.Lease.Name}, voucher)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get voucher: %w", err)
	}
	if err != nil {
		return nil //nolint:nilerr // the buyer has not written it yet
	}
	who := "voucher of " + job.title()
	if tx := voucher.Spec.Deposit; tx != nil {
		t.once(who+"deposit", string(tx.Signature)+string(tx.State), "%-16s escrow %s, %s %s: %s", who, job.Lease.Spec.Escrow.Address, tx.Purpose, tx.State, tx.Signature)
	}
	if voucher.Spec.Gross != nil {
		t.once(who+"promise", strconv.FormatInt(voucher.Spec.Sequence, 10), "%-16s promise %d: cumulatively %d base units, signed", who, voucher.Spec.Sequence, *voucher.Spec.Gross)
	}
	return nil
}

func (t *Teller) settlements(ctx context.Context, lab *Lab, job *Job) error {
	list, err := Settlements(ctx, lab, job)
	if err != nil {
		return err
	}
	for _, s := range list {
		t.once("settlement/"+s.Name, "seen", "settlement       %s period %d: %s (supplier %d, treasury %d, burned %d, refunded %d)", s.Spec.Kind, s.Spec.Period, s.Spec.Amount, *s.Spec.SupplierPaid, *s.Spec.TreasuryPaid, *s.Spec.Burned, *s.Spec.Refunded)
	}
	return nil
}

// Settlements are the public records of the job's lease.
func Settlements(ctx context.Context, lab *Lab, job *Job) ([]boursev1.Settlement, error) {
	list := &boursev1.SettlementList{}
	err := lab.Client.List(ctx, list, client.InNamespace(boursev1.PublicNamespace), client.MatchingFields{"spec.lease.name": job.Lease.Name})
	if err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	return list.Items, nil
}

// Ended says whether the job has ended and its refund is on record.
func (t *Teller) Ended(ctx context.Context, lab *Lab, job *Job) (bool, error) {
	if err := t.Look(ctx, lab, job); err != nil {
		return false, err
	}
	if job.Lease == nil || !terminal(job.Lease) {
		return false, nil
	}
	list, err := Settlements(ctx, lab, job)
	if err != nil {
		return false, err
	}
	for _, s := range list {
		if s.Spec.Kind == boursev1.SettlementRefund {
			return true, nil
		}
	}
	return false, nil
}

// Pods are the pods of the job's lease, in its supplier's cluster.
func Pods(ctx context.Context, lab *Lab, job *Job) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	if err := lab.In(lab.ClusterOf(job.Lease.Namespace)).List(ctx, list, client.InNamespace(job.Lease.Status.Namespace)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return list.Items, nil
}
