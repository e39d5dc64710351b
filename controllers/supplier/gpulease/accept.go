// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/ray"
)

// maxNodes is how many nodes a status names.
const maxNodes = 32

// accept checks the terms against the pool's own, holds the capacity with pods, and accepts once the scheduler has placed them all.
// What is not held by acceptBy is refused, so a stale offer costs a retry and never a double sale.
func (r *Reconciler) accept(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil || kube.IsTrue(lease, boursev1.LeaseAccepted) {
		return reconcile.Result{}, nil
	}
	var pool boursev1.GPUPool
	err := r.Local.Get(ctx, client.ObjectKey{Name: lease.Spec.Pool}, &pool)
	switch {
	case apierrors.IsNotFound(err):
		r.decline(lease, boursev1.ReasonTermsRefused, "There is no pool "+lease.Spec.Pool)
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("get pool: %w", err)
	}
	left := lease.Spec.AcceptBy.Sub(r.Now())
	refusal, err := r.refusal(ctx, lease, &pool)
	switch {
	case err != nil && left > 0:
		return reconcile.Result{}, err
	case refusal != "":
		r.decline(lease, boursev1.ReasonTermsRefused, refusal)
		return reconcile.Result{}, nil
	case left <= 0: // also without the market's rules: nothing is held for ever
		return reconcile.Result{}, r.tooLate(ctx, lease)
	}
	program, err := r.program(ctx, lease)
	if errors.Is(err, errNoProgram) {
		kube.Waiting(lease, boursev1.LeaseAccepted, boursev1.ReasonAwaitingProgram, "The market has not handed over yet what the lease runs")
		return reconcile.Result{RequeueAfter: left}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if why := programRefusal(lease, &program.Spec, pool.Spec.Terms.Images); why != "" {
		r.decline(lease, boursev1.ReasonTermsRefused, why)
		return reconcile.Result{}, nil
	}
	return r.take(ctx, lease, &pool, &program.Spec.Ray)
}

// take holds the capacity, and accepts once all of it is held.
func (r *Reconciler) take(ctx context.Context, lease *boursev1.GPULease, pool *boursev1.GPUPool, program *boursev1.RayProgram) (reconcile.Result, error) {
	if inherited, err := r.inherited(ctx, lease); err != nil || inherited {
		return reconcile.Result{}, err
	}
	hosts, held, err := r.hold(ctx, lease, pool, program)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !held {
		return r.holding(lease), nil
	}
	lease.Status.Namespace, lease.Status.Nodes = space(lease), hosts[:min(len(hosts), maxNodes)]
	kube.True(lease, boursev1.LeaseAccepted, boursev1.ReasonCapacityHeld, fmt.Sprintf("%d GPUs are held on %d nodes", gpus(lease), len(hosts)))
	kube.Waiting(lease, boursev1.LeaseFunded, boursev1.ReasonAwaitingDeposit, "The buyer has not deposited yet")
	kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonAwaitingDeposit, "The buyer has not deposited yet")
	return reconcile.Result{}, nil
}

// holding says that the GPUs are being held, unless it has turned out that they cannot be.
func (r *Reconciler) holding(lease *boursev1.GPULease) reconcile.Result {
	if lease.Status.End != nil {
		return reconcile.Result{}
	}
	lease.Status.Namespace = space(lease)
	kube.Waiting(lease, boursev1.LeaseAccepted, boursev1.ReasonHolding, "The GPUs are being held")
	return reconcile.Result{RequeueAfter: lease.Spec.AcceptBy.Sub(r.Now())}
}

// tooLate refuses a lease whose GPUs were not held in time, in the words of the scheduler.
func (r *Reconciler) tooLate(ctx context.Context, lease *boursev1.GPULease) error {
	if _, err := r.program(ctx, lease); errors.Is(err, errNoProgram) {
		r.decline(lease, boursev1.ReasonProgramMissing, "The market did not hand over in time what the lease runs")
		return nil
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return err
	}
	message := "The scheduler did not find a place for every pod in time"
	switch why, ended := ray.Unplaced(state.Holders), lost(state.Holders); {
	case ended != "":
		message = "A pod did not keep its place: " + ended
	case why != "":
		message += ": " + why
	case len(state.Holders) == 0:
		message = "Nothing was held in time: the lease came too late by this cluster's clock, or the pool has no node of the model"
	}
	r.decline(lease, boursev1.ReasonCapacityGone, clip(message, maxEndMessage))
	return nil
}

// decline refuses the lease and ends it.
func (r *Reconciler) decline(lease *boursev1.GPULease, reason, message string) {
	kube.Failed(lease, boursev1.LeaseAccepted, reason, message)
	r.end(lease, boursev1.EndNotAccepted, boursev1.PartySupplier, r.Now(), message)
}

// hold makes the lease's namespace, its walls, and the pods that hold its GPUs, and returns the nodes once all are placed. A place that was
// given up for another lease's workers is not kept.
func (r *Reconciler) hold(ctx context.Context, lease *boursev1.GPULease, pool *boursev1.GPUPool, program *boursev1.RayProgram) ([]string, bool, error) {
	state, err := r.state(ctx, lease)
	if err != nil {
		return nil, false, err
	}
	other, err := r.displaced(ctx, lease, state.Holders)
	if err != nil {
		return nil, false, err
	}
	if other != "" {
		r.decline(lease, boursev1.ReasonCapacityGone, "The GPUs are promised to lease "+other)
		return nil, false, nil
	}
	if len(state.Holders) > int(lease.Spec.Workers) {
		hosts, ok := ray.Hosts(state.Holders)
		return hosts, ok && lost(state.Holders) == "", nil
	}
	plan := r.plan(lease, program)
	plan.NodeSelector = pool.Spec.NodeSelector
	if plan.Products, err = r.products(ctx, pool, lease.Spec.Model); err != nil || len(plan.Products) == 0 {
		return nil, false, err
	}
	if err := kube.Hold(ctx, r.Hub, lease, Finalizer); err != nil {
		return nil, false, err
	}
	holders, err := r.missing(ctx, plan.Holders())
	if err != nil || len(holders) == 0 {
		return nil, false, err
	}
	objects := append([]client.Object{remembering(plan.Space(), lease)}, plan.Walls()...)
	return nil, false, r.create(ctx, append(objects, holders...)...)
}

// lost says why a pod does not hold its place any more, as when its node refused it after the scheduler had placed it; nothing if all do.
func lost(holders []corev1.Pod) string {
	for i := range holders {
		if why, ended := ray.Trouble(&holders[i]); ended {
			return why
		}
	}
	return ""
}

// inherited declines a lease whose namespace is that of an earlier one of the same name, as when the hub was restored from a backup and matched
// the job anew: the pods there, and the escrow, are of other terms. It is cleared as this lease's, since the hub has no other of the name.
func (r *Reconciler) inherited(ctx context.Context, lease *boursev1.GPULease) (bool, error) {
	var namespace corev1.Namespace
	err := r.Local.Get(ctx, client.ObjectKey{Name: space(lease)}, &namespace)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get namespace: %w", err)
	}
	if of := namespace.Annotations[boursev1.AnnotationLeaseUID]; of == "" || of == string(lease.UID) { // as when there is none
		return false, nil
	}
	r.decline(lease, boursev1.ReasonCapacityGone, "What an earlier lease of this name ran is still here, and is cleared now")
	return true, nil
}

// missing returns those of the pods of one namespace that its API server itself does not have. A pod that is there must not be made again: the
// quota of the namespace also counts one that is refused for its name, and for minutes leaves no room for Ray's pods.
func (r *Reconciler) missing(ctx context.Context, pods []*corev1.Pod) ([]client.Object, error) {
	var there corev1.PodList
	if err := r.LocalLive.List(ctx, &there, client.InNamespace(pods[0].Namespace)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var missing []client.Object
	for _, pod := range pods {
		if !slices.ContainsFunc(there.Items, func(other corev1.Pod) bool { return other.Name == pod.Name }) {
			missing = append(missing, pod)
		}
	}
	return missing, nil
}

// remembering writes on the lease's namespace what must be known of the lease when the hub has it no more.
func remembering(space *corev1.Namespace, lease *boursev1.GPULease) *corev1.Namespace {
	space.Annotations = map[string]string{
		boursev1.AnnotationHubNamespace: lease.Namespace,
		boursev1.AnnotationGivenUp:      moment(givenUp(lease)),
		boursev1.AnnotationLeaseUID:     string(lease.UID),
	}
	return space
}

// create makes what is not there yet. Names are the lease's own, so what is there is what was made before.
func (r *Reconciler) create(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := r.Local.Create(ctx, object); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("create %T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

// refusal says why the supplier does not accept the terms, or nothing. The hub is not trusted with any of it.
func (r *Reconciler) refusal(ctx context.Context, lease *boursev1.GPULease, pool *boursev1.GPUPool) (string, error) {
	if why := poolRefusal(lease, pool, r.Now()); why != "" {
		return why, nil
	}
	if lease.Spec.Supplier != r.Wallet {
		return fmt.Sprintf("The lease pays %s instead of %s", lease.Spec.Supplier, r.Wallet), nil
	}
	if err := checkEscrow(lease); err != nil {
		return fmt.Sprintf("The escrow is not the lease's: %v", err), nil
	}
	if why := moneyRefusal(lease); why != "" {
		return why, nil
	}
	if lease.Spec.AcceptBy.Sub(r.Now()) > startAllowance {
		return "The GPUs would be held for too long before anybody pays", nil
	}
	var market boursev1.Market
	if err := r.Hub.Get(ctx, client.ObjectKey{Name: lease.Spec.Payment.Market}, &market); err != nil {
		return "", fmt.Errorf("get market: %w", err)
	}
	return r.versionRefusal(lease, &market)
}

// versionRefusal compares the lease with the market's rules whatever version of them it names: what changed a moment ago costs a new
// match only if it matters. A version that we have not seen yet is waited for, until the lease must be accepted.
func (r *Reconciler) versionRefusal(lease *boursev1.GPULease, market *boursev1.Market) (string, error) {
	named := lease.Spec.Payment.MarketGeneration
	switch {
	case market.Generation >= named:
	case r.Now().Before(lease.Spec.AcceptBy.Time):
		return "", fmt.Errorf("get market: version %d of its rules is not here yet", named)
	default:
		return fmt.Sprintf("The lease names version %d of the market's rules, and %d is in force", named, market.Generation), nil
	}
	why := marketRefusal(lease, market)
	if why != "" && market.Generation != named {
		why += fmt.Sprintf("; it names version %d of the rules, and %d is in force", named, market.Generation)
	}
	return why, nil
}

// poolRefusal compares the lease with what the pool's admin allows.
func poolRefusal(lease *boursev1.GPULease, pool *boursev1.GPUPool, now time.Time) string {
	asked, errAsked := money.ParseUSD(string(leastPrice(pool, lease.Spec.Model)))
	agreed, errAgreed := money.ParseUSD(string(lease.Spec.Payment.PriceUSD))
	switch {
	case !pool.DeletionTimestamp.IsZero():
		return "The pool is being deleted"
	case pool.Spec.Mode == boursev1.PoolHold:
		return "The pool sells nothing now"
	case pool.Spec.Mode == boursev1.PoolDrain:
		return "The pool is being drained"
	case errAsked != nil || errAgreed != nil || agreed < asked:
		return fmt.Sprintf("The pool asks %s dollars, and the lease pays %s", asked, agreed)
	case !slices.Contains(pool.Spec.Tokens, lease.Spec.Payment.Token):
		return fmt.Sprintf("The pool does not take %s", lease.Spec.Payment.Token)
	}
	if why := windowRefusal(lease, pool, now); why != "" {
		return why
	}
	return termsRefusal(lease, &pool.Spec.Terms)
}

// windowRefusal names the first maintenance window that the lease could run into if it used all of its time.
func windowRefusal(lease *boursev1.GPULease, pool *boursev1.GPUPool, now time.Time) string {
	var first *boursev1.MaintenanceWindow
	for i := range pool.Spec.Maintenance {
		window := &pool.Spec.Maintenance[i]
		hit := now.Before(closes(*window)) && window.Start.Time.Before(latestEnd(lease))
		if hit && (first == nil || window.Start.Before(&first.Start)) {
			first = window
		}
	}
	if first == nil {
		return ""
	}
	return fmt.Sprintf("The lease could last until %s, and the pool has maintenance from %s until %s",
		moment(latestEnd(lease)), moment(first.Start.Time), moment(closes(*first)))
}

// termsRefusal compares the lease's terms with the pool's.
func termsRefusal(lease *boursev1.GPULease, own *boursev1.PoolTerms) string {
	terms := lease.Spec.Terms
	switch {
	case !slices.Contains(own.Tiers, terms.Tier):
		return fmt.Sprintf("The pool has no %s leases", terms.Tier)
	case strength(terms.Isolation) > strength(own.Isolation):
		return fmt.Sprintf("The pool does not isolate as strongly as %s", terms.Isolation)
	case reach(terms.Egress) > reach(own.Egress):
		return fmt.Sprintf("The pool does not allow egress %s", terms.Egress)
	case terms.DurationSeconds < own.MinDurationSeconds || terms.DurationSeconds > own.MaxDurationSeconds:
		return fmt.Sprintf("The pool leases for %d to %d seconds", own.MinDurationSeconds, own.MaxDurationSeconds)
	case terms.NoticeSeconds > own.NoticeSeconds:
		return fmt.Sprintf("The pool gives %d seconds of notice", own.NoticeSeconds)
	case len(own.Buyers) > 0 && !slices.Contains(own.Buyers, lease.Spec.Buyer):
		return fmt.Sprintf("The pool does not serve the buyer %s", lease.Spec.Buyer)
	}
	return ""
}

func allowed(repositories []boursev1.ImageRepository, image string) bool {
	names := make([]string, len(repositories))
	for i, repository := range repositories {
		names[i] = string(repository)
	}
	return book.ImageAllowed(names, image)
}

// programRefusal checks that the program is the one that the lease names, and what the API server of the hub should have refused, since a
// pod would gain by it here. Everybody may read why, so it tells nothing of the program.
func programRefusal(lease *boursev1.GPULease, program *boursev1.LeaseProgramSpec, images []boursev1.ImageRepository) string {
	if differs := contract.Runs(lease, program.Salt, &program.Ray); differs != "" {
		return "The lease " + differs
	}
	runs := &program.Ray
	for _, variable := range runs.Env {
		if ray.Reserved(variable.Name) {
			return "The program sets a variable that is the operator's own"
		}
	}
	for _, size := range []resource.Quantity{runs.WorkerCPU, runs.WorkerMemory, runs.HeadCPU, runs.HeadMemory} {
		if size.Sign() <= 0 {
			return "The program's CPU and memory have no bounds"
		}
	}
	if !allowed(images, runs.Image) {
		return "The pool does not run the program's image"
	}
	return ray.Unsupported(runs.Version)
}

// moneyRefusal checks that the deposit covers the term, and that the escrow stays open for as long as the lease can last.
func moneyRefusal(lease *boursev1.GPULease) string {
	pay, terms := lease.Spec.Payment, lease.Spec.Terms
	agreed, err := contract.Meter(lease)
	if err != nil {
		return fmt.Sprintf("The price is out of bounds: %v", err)
	}
	gross, err := money.Gross(agreed.Price, agreed.Whole())
	if err != nil {
		return fmt.Sprintf("The price is out of bounds: %v", err)
	}
	split, err := agreed.Fees.Split(gross)
	if err != nil {
		return fmt.Sprintf("The fees are out of bounds: %v", err)
	}
	if split.Debit > agreed.Deposit {
		return fmt.Sprintf("The deposit of %d does not cover the term, which costs %s", pay.Deposit, split.Debit)
	}
	needed := lease.CreationTimestamp.Add(startAllowance + time.Duration(terms.DurationSeconds)*time.Second)
	if lease.Spec.Escrow.Deadline.Time.Before(needed) {
		return "The escrow may be refunded before the term can end"
	}
	return ""
}

// marketRefusal compares the lease with the market's published rules.
func marketRefusal(lease *boursev1.GPULease, market *boursev1.Market) string {
	pay := lease.Spec.Payment
	at := slices.IndexFunc(market.Spec.Tokens, func(t boursev1.MarketToken) bool { return t.Symbol == pay.Token })
	if at < 0 {
		return fmt.Sprintf("The market does not take %s", pay.Token)
	}
	coin := market.Spec.Tokens[at]
	if differs := contract.Rules(lease, market); differs != "" {
		return "The lease " + differs
	}
	switch {
	case pay.Mint != coin.Mint || number(pay.Decimals) != number(coin.Decimals):
		return "The lease names another mint than the market"
	case number(pay.SupplierFeeBps) > number(market.Spec.Fees.SupplierBps):
		return "The lease takes a higher fee than the market"
	}
	return worthRefusal(&pay, &coin)
}

// worthRefusal checks that the price in the token is the agreed one in dollars.
func worthRefusal(pay *boursev1.LeasePayment, coin *boursev1.MarketToken) string {
	agreed, errAgreed := money.ParseUSD(string(pay.PriceUSD))
	perToken, errToken := money.ParseUSD(string(coin.PriceUSD))
	token, errDecimals := contract.Token(pay)
	if err := errors.Join(errAgreed, errToken, errDecimals); err != nil {
		return fmt.Sprintf("The price cannot be read: %v", err)
	}
	worth, err := money.PriceInToken(agreed, perToken, token)
	if err != nil {
		return fmt.Sprintf("The price is out of bounds: %v", err)
	}
	if paid := amount(&pay.PricePerGPUHour); paid < worth {
		return fmt.Sprintf("The lease pays %s base units, and %s dollars are %s", paid, pay.PriceUSD, worth)
	}
	return ""
}
