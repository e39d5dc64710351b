// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
)

const jobsLong = `Says of your jobs where each went: to whom, at what price, how it fares, what it used and paid, and since when.
With the name of a job it tells its whole life, with the lease, the escrow and each transaction on the chain.

What you may not read is left out, and named.`

const jobsExample = `  kubectl bourse jobs -n my-team
  kubectl bourse jobs train
  kubectl bourse jobs train -o yaml`

// jobs is the command of that name.
type jobs struct {
	hub    *hubFlags
	now    func() time.Time
	all    bool
	output output
}

func newJobs(hub *hubFlags, now func() time.Time) *cobra.Command {
	j := &jobs{hub: hub, now: now}
	cmd := &cobra.Command{
		Use:     "jobs [JOB]",
		Aliases: []string{"job", "where"},
		Short:   "Say where your jobs went, and how each fares",
		Long:    jobsLong,
		Example: jobsExample,
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return j.run(cmd, nameFrom(args)) },
	}
	cmd.Flags().BoolVarP(&j.all, "all-namespaces", "A", false, "the jobs of all namespaces, for who may read them")
	j.output.add(cmd.Flags())
	return cmd
}

func (j *jobs) run(cmd *cobra.Command, name string) error {
	hub, namespace, err := j.hub.open()
	if err != nil {
		return err
	}
	if j.all {
		namespace = ""
	}
	hidden, err := j.answer(cmd.Context(), cmd.OutOrStdout(), hub, namespace, name)
	for _, kind := range hidden {
		cmd.PrintErrf("you may not read %s, so what they say is left out\n", kind)
	}
	return err
}

// answer prints all jobs, or one in full, and returns what the caller may not read.
func (j *jobs) answer(ctx context.Context, to io.Writer, hub client.Client, namespace, name string) (hidden []string, err error) {
	told, err := readJobs(ctx, hub, namespace)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return told.hidden, j.list(to, told, namespace)
	}
	job, err := told.find(namespace, name)
	if err != nil {
		return told.hidden, err
	}
	if err := told.readSettlements(ctx, job); err != nil {
		return told.hidden, err
	}
	l, err := told.life(job)
	if err != nil {
		return told.hidden, err
	}
	return told.hidden, j.output.print(to, l, func() error { return l.print(to, j.now()) })
}

// list prints a line for each job.
func (j *jobs) list(to io.Writer, told *jobRecords, namespace string) error {
	lines := make([]jobLine, 0, len(told.jobs))
	for i := range told.jobs {
		lines = append(lines, told.line(&told.jobs[i]))
	}
	return j.output.print(to, lines, func() error {
		if len(lines) == 0 {
			_, err := fmt.Fprintf(to, "There are no jobs in %s.\n", cmp.Or(namespace, "any namespace"))
			return err
		}
		const mostName, mostState, mostSupplier, mostRegion, mostPrice = 24, 26, 18, 12, 10
		rows := make([][]string, 0, len(lines))
		for _, line := range lines {
			rows = append(rows, []string{
				short(line.shown(), mostName), fmt.Sprintf("%d %s", line.GPUs, cmp.Or(string(line.Model), "?")), short(line.State, mostState),
				ago(line.Since.Time, j.now()), line.first(partLine.supplier, mostSupplier), line.first(partLine.region, mostRegion),
				line.first(partLine.price, mostPrice), cmp.Or(line.GPUHours, none), cmp.Or(line.Paid, none),
			})
		}
		return table(to, "JOB|GPUS|STATE|SINCE|SUPPLIER|REGION|USD/H|GPU-H|PAID", rows)
	})
}

// jobRecords are what a hub holds of jobs, as far as the caller may read it.
type jobRecords struct {
	hub         client.Client
	jobs        []boursev1.ComputeJob
	leases      []boursev1.GPULease
	vouchers    []boursev1.Voucher
	settlements []boursev1.Settlement
	suppliers   map[string]supplier
	regions     map[client.ObjectKey]boursev1.Region
	hidden      []string // what the caller may not read
}

// readJobs reads the jobs of a namespace, or of all, and what became of them.
func readJobs(ctx context.Context, hub client.Client, namespace string) (*jobRecords, error) {
	r := &jobRecords{hub: hub, suppliers: map[string]supplier{}, regions: map[client.ObjectKey]boursev1.Region{}}
	var jobs boursev1.ComputeJobList
	if err := hub.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	r.jobs = jobs.Items
	var leases boursev1.GPULeaseList
	var ofJobs []client.ListOption
	if namespace != "" {
		ofJobs = append(ofJobs, client.MatchingFields{"spec.job.namespace": namespace})
	}
	if err := r.may("gpuleases", hub.List(ctx, &leases, ofJobs...)); err != nil {
		return nil, err
	}
	r.leases = leases.Items
	var vouchers boursev1.VoucherList
	if err := r.may("vouchers", hub.List(ctx, &vouchers, client.InNamespace(namespace))); err != nil {
		return nil, err
	}
	r.vouchers = vouchers.Items
	for i := range r.jobs {
		if err := r.lookUp(ctx, &r.jobs[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// may takes it in that the caller may not read a kind; other errors remain.
func (r *jobRecords) may(kind string, err error) error {
	if apierrors.IsForbidden(err) {
		if !slices.Contains(r.hidden, kind) {
			r.hidden = append(r.hidden, kind)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	return nil
}

// lookUp finds out who the job's suppliers are, and where their offers say that the GPUs are. An offer may be gone.
func (r *jobRecords) lookUp(ctx context.Context, job *boursev1.ComputeJob) error {
	for _, part := range listing.Parts(job) {
		namespace := part.Lease.Namespace
		if _, known := r.suppliers[namespace]; !known {
			r.suppliers[namespace] = supplier{Namespace: namespace}
			var member boursev1.Member
			err := r.hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &member)
			if err := r.may("members", client.IgnoreNotFound(err)); err != nil {
				return err
			}
			r.suppliers[namespace] = supplier{Namespace: namespace, Name: member.Spec.DisplayName, Wallet: member.Spec.Wallet}
		}
		key := client.ObjectKey{Namespace: namespace, Name: part.Offer}
		if _, known := r.regions[key]; known {
			continue
		}
		var offer boursev1.GPUOffer
		if err := r.may("gpuoffers", client.IgnoreNotFound(r.hub.Get(ctx, key, &offer))); err != nil {
			return err
		}
		r.regions[key] = offer.Spec.Region
	}
	return nil
}

// lease returns a lease, nil if it is gone or hidden.
func (r *jobRecords) lease(at boursev1.ObjectReference) *boursev1.GPULease {
	for i := range r.leases {
		if lease := &r.leases[i]; at == (boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}) {
			return lease
		}
	}
	return nil
}

// voucher returns what the buyer promised for a lease, nil for nothing.
func (r *jobRecords) voucher(lease *boursev1.GPULease) *boursev1.Voucher {
	for i := range r.vouchers {
		if r.vouchers[i].Spec.Lease == (boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}) {
			return &r.vouchers[i]
		}
	}
	return nil
}

// supplier is who a job went to.
type supplier struct {
	Namespace string                 `json:"namespace,omitempty"`
	Name      string                 `json:"name,omitempty"`
	Wallet    boursev1.SolanaAddress `json:"wallet,omitempty"`
}

// called is how the supplier wishes to be called, or where it is.
func (s supplier) called() string { return cmp.Or(s.Name, s.Namespace) }

// jobLine is what is told of a job in one line.
type jobLine struct {
	Namespace string               `json:"namespace"`
	Name      string               `json:"name"`
	Origin    string               `json:"origin,omitempty"` // the job of the buyer's own cluster that this one stands for
	GPUs      int32                `json:"gpus"`
	Model     boursev1.GPUModel    `json:"model,omitempty"`
	State     string               `json:"state"`
	Message   string               `json:"message,omitempty"`
	Since     metav1.Time          `json:"since,omitzero"`
	Token     boursev1.TokenSymbol `json:"token,omitempty"`
	GPUHours  string               `json:"gpuHours,omitempty"`
	Paid      string               `json:"paid,omitempty"`
	Parts     []partLine           `json:"parts,omitempty"` // where it went: one part, unless the job was split
}

// partLine is one lease of a job.
type partLine struct {
	GPUs     int32                  `json:"gpus"`
	Supplier supplier               `json:"supplier"`
	Offer    string                 `json:"offer"`
	Region   boursev1.Region        `json:"region,omitempty"`
	PriceUSD boursev1.USDPrice      `json:"priceUSD"`
	Lease    string                 `json:"lease"`
	Escrow   boursev1.SolanaAddress `json:"escrow,omitempty"`
}

func (p partLine) supplier() string { return p.Supplier.called() }
func (p partLine) region() string   { return string(p.Region) }
func (p partLine) price() string    { return string(p.PriceUSD) }

// first is what the first of the job's parts says, cut to so many characters, and how many others say something else.
func (l *jobLine) first(of func(partLine) string, most int) string {
	var texts []string
	for _, part := range l.Parts {
		if text := of(part); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	switch len(texts) {
	case 0:
		return none
	case 1:
		return short(texts[0], most)
	default:
		more := fmt.Sprintf(" +%d", len(texts)-1)
		return short(texts[0], most-len(more)) + more
	}
}

// shown is the name that its buyer knows the job by.
func (l jobLine) shown() string { return cmp.Or(l.Origin, l.Name) }

func (r *jobRecords) line(job *boursev1.ComputeJob) jobLine {
	line := jobLine{
		Namespace: job.Namespace, Name: job.Name, Origin: originOf(job), GPUs: job.Spec.GPUs.Workers * max(1, job.Spec.GPUs.PerWorker),
		Model: job.Status.Model, Since: metav1.NewTime(since(job)), Token: job.Spec.Bid.Token,
	}
	if line.Model == "" && len(job.Spec.GPUs.Models) == 1 {
		line.Model = job.Spec.GPUs.Models[0]
	}
	line.State, line.Message = stateOf(job)
	if used := job.Status.Usage; used != nil {
		line.GPUHours, line.Paid = gpuHours(value(used.GPUMilliseconds)), used.Cost
	}
	for _, part := range listing.Parts(job) {
		to := partLine{
			GPUs: part.Workers * max(1, job.Spec.GPUs.PerWorker), Supplier: r.suppliers[part.Lease.Namespace], Offer: part.Offer, PriceUSD: part.PriceUSD,
			Region: r.regions[client.ObjectKey{Namespace: part.Lease.Namespace, Name: part.Offer}], Lease: part.Lease.Name,
		}
		if lease := r.lease(part.Lease); lease != nil {
			to.Escrow = lease.Spec.Escrow.Address
		}
		line.Parts = append(line.Parts, to)
	}
	return line
}

// originOf names the job of the buyer's own cluster that this one stands for; nothing if it stands for itself.
func originOf(job *boursev1.ComputeJob) string {
	name := job.Annotations[boursev1.AnnotationOriginName]
	if name == "" {
		return ""
	}
	return job.Annotations[boursev1.AnnotationOriginNamespace] + "/" + name
}

// since is when the job came to where it is: the last step that its conditions know of.
func since(job *boursev1.ComputeJob) time.Time {
	last := job.CreationTimestamp.Time
	for _, condition := range job.Status.Conditions {
		under := condition.Type == boursev1.Succeeded && condition.Status == metav1.ConditionUnknown // its time is the beginning
		if !under && condition.LastTransitionTime.After(last) {
			last = condition.LastTransitionTime.Time
		}
	}
	return last
}

// stateOf says in words where the job is, and in a sentence why.
func stateOf(job *boursev1.ComputeJob) (state, message string) {
	root := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded)
	switch {
	case root == nil:
		return "not looked at yet", ""
	case root.Status == metav1.ConditionTrue:
		return "ended well: " + root.Reason, root.Message
	case root.Status == metav1.ConditionFalse:
		return "failed: " + root.Reason, root.Message
	}
	words := map[string]string{
		boursev1.ReasonMatching: "waits for an offer", boursev1.ReasonAwaitingSupplier: "waits for the supplier",
		boursev1.ReasonAwaitingDeposit: "waits for the deposit", boursev1.ReasonStarting: "starts", boursev1.ReasonRunning: "runs",
		boursev1.ReasonWorkersNotReady: "waits for a worker", boursev1.ReasonNodeSilent: "waits for a silent node",
		boursev1.ReasonTakingBack: "is being taken back", boursev1.ReasonSettling: "is being settled", boursev1.ReasonAwaitingMarket: "waits for the market",
	}
	message = root.Message
	if matched := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobFunded); matched != nil && matched.Status == metav1.ConditionFalse {
		message = matched.Message // what keeps the deposit back says more than that it is waited for
	}
	return cmp.Or(words[root.Reason], root.Reason), message
}

// find returns the one job of a name.
func (r *jobRecords) find(namespace, name string) (*boursev1.ComputeJob, error) {
	return findJob(r.jobs, namespace, name)
}

// findJob returns the one job of a name: its own, or else that of the job it stands for, with or without its namespace.
func findJob(jobs []boursev1.ComputeJob, namespace, name string) (*boursev1.ComputeJob, error) {
	var found, copies []*boursev1.ComputeJob
	for i := range jobs {
		job := &jobs[i]
		switch {
		case job.Name == name:
			found = append(found, job)
		case originOf(job) == name || job.Annotations[boursev1.AnnotationOriginName] == name:
			copies = append(copies, job)
		}
	}
	if len(found) == 0 {
		found = copies
	}
	switch {
	case len(found) == 0 && namespace == "":
		return nil, fmt.Errorf("there is no job %s", name)
	case len(found) == 0:
		return nil, fmt.Errorf("namespace %s has no job %s; another one is named with --namespace", namespace, name)
	case len(found) > 1:
		return nil, errors.New("there are several jobs " + name + ": name one as the first column of kubectl bourse jobs does, and its namespace with --namespace")
	}
	return found[0], nil
}

func value[N int32 | int64](of *N) N {
	if of == nil {
		return 0
	}
	return *of
}
