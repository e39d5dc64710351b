// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// validity is how long an offer stands without its supplier; it is renewed at half of that.
const validity = 5 * time.Minute

// memberName is how the Member in every member's namespace is called.
const memberName = "member"

// advertise publishes one offer for each model, and withdraws those of models that are gone.
func (p *pass) advertise(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	admitted, err := p.admitted(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	if p.left() { // who cannot withdraw anything either
		p.tellPrices(pool, nil)
		p.tellFaults(pool)
		return reconcile.Result{RequeueAfter: validity}, nil
	}
	var models []gpu.Holding
	if admitted && pool.Spec.Mode == boursev1.PoolSell {
		models = slices.DeleteFunc(slices.Clone(p.report.Models), func(h gpu.Holding) bool { return !p.placeable[h.Name] })
	}
	next, err := p.publish(ctx, pool, models)
	if err != nil {
		return reconcile.Result{}, err
	}
	p.lookAgain(next)
	p.tellPrices(pool, models)
	if admitted {
		p.conclude(pool)
	}
	p.tellFaults(pool)
	return reconcile.Result{RequeueAfter: p.wake}, nil
}

// tellPrices writes down what the offers ask.
func (p *pass) tellPrices(pool *boursev1.GPUPool, models []gpu.Holding) {
	rows := pool.Status.Models
	for i := range rows {
		rows[i].PriceUSD = ""
		if slices.ContainsFunc(models, func(h gpu.Holding) bool { return h.Name == string(rows[i].Model) }) {
			rows[i].PriceUSD = p.asked[string(rows[i].Model)]
		}
	}
}

// tellFaults tells once of each GPU that fell sick.
func (p *pass) tellFaults(pool *boursev1.GPUPool) {
	for _, f := range p.faults[pool.Name] {
		p.Recorder.Eventf(pool, nil, corev1.EventTypeWarning, boursev1.ReasonDeviceFault, boursev1.PoolDiscovered,
			"GPU %s of node %s is unhealthy: %s", f.ID, f.Node, f.What)
	}
	delete(p.faults, pool.Name)
}

// conclude says how the pool fares.
func (p *pass) conclude(pool *boursev1.GPUPool) {
	say := sayer(pool)
	switch {
	case pool.Spec.Mode == boursev1.PoolHold:
		say(kube.Failed, boursev1.ReasonOnHold, "The pool's mode is Hold")
		return
	case pool.Spec.Mode == boursev1.PoolDrain:
		say(kube.Failed, boursev1.ReasonDraining, "The pool's mode is Drain")
		return
	case !kube.IsTrue(pool, boursev1.PoolDiscovered):
		why := discovered(pool)
		say(kube.Failed, why.Reason, why.Message)
		return
	case p.maintenance:
		say(kube.Waiting, boursev1.ReasonMaintenance, "A window of spec.maintenance is open")
		return
	case pool.Recycling():
		say(kube.Waiting, boursev1.ReasonRecycling, "Mock rentals try the nodes before they are sold again")
		return
	case p.report.Total.Offered > 0:
		kube.True(pool, boursev1.PoolAdvertised, boursev1.ReasonOffered, "The market knows what is idle")
	case p.report.Cooling:
		say(kube.Waiting, boursev1.ReasonCooling, "Free GPUs are not idle for long enough yet")
		return
	default:
		kube.Waiting(pool, boursev1.PoolAdvertised, boursev1.ReasonBusy, "No GPU is free for the market, as status.heldBack tells")
	}
	kube.True(pool, boursev1.Ready, boursev1.ReasonSelling, "The pool's idle GPUs are for sale")
}

func discovered(pool *boursev1.GPUPool) metav1.Condition {
	for _, condition := range pool.Status.Conditions {
		if condition.Type == boursev1.PoolDiscovered {
			return condition
		}
	}
	return metav1.Condition{}
}

// sayer says one thing of whether the market knows the pool, and of the pool as a whole.
func sayer(pool *boursev1.GPUPool) func(with func(kube.Conditioned, string, string, string), reason, message string) {
	return func(with func(kube.Conditioned, string, string, string), reason, message string) {
		with(pool, boursev1.PoolAdvertised, reason, message)
		with(pool, boursev1.Ready, reason, message)
	}
}

// left says whether the hub has said that it does not know the supplier any more.
func (r *Reconciler) left() bool { return r.NotMember != nil && r.NotMember() }

// admitted says whether the supplier may take part in the market, and tells the pool if not.
func (r *Reconciler) admitted(ctx context.Context, pool *boursev1.GPUPool) (bool, error) {
	say := sayer(pool)
	if r.left() {
		say(kube.Failed, boursev1.ReasonNotMember, "The hub does not know this member any more: leases that run go on, and to sell, join again")
		return false, nil
	}
	var member boursev1.Member
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: memberName}, &member)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return false, fmt.Errorf("get member: %w", err)
	case err == nil && member.Spec.Leave != nil:
		say(kube.Failed, boursev1.ReasonMemberLeaving, "The member leaves the hub: nothing new is sold, and leases that run go on")
		return false, nil
	case err == nil && kube.IsTrue(&member, boursev1.Ready):
		return true, nil
	}
	say(kube.Waiting, boursev1.ReasonNoMember, "The namespace "+r.Namespace+" in the hub has no admitted Member")
	return false, nil
}

// publish makes the pool's offers in the hub what they are to be, and returns when the first of them must be renewed.
func (p *pass) publish(ctx context.Context, pool *boursev1.GPUPool, models []gpu.Holding) (time.Duration, error) {
	offers, err := p.offers(ctx, pool)
	if err != nil {
		return 0, err
	}
	standing := map[string]*boursev1.GPUOffer{}
	for i := range offers {
		standing[offers[i].Name] = &offers[i]
	}
	var next time.Duration
	for i := range models {
		wanted := p.offer(pool, &models[i])
		_, auto := contract.PoolPrice(pool, wanted.Spec.Model)
		left, err := p.renew(ctx, standing[wanted.Name], wanted, auto)
		if err != nil {
			return 0, err
		}
		p.asked[models[i].Name] = wanted.Spec.PriceUSD
		if next == 0 || left < next {
			next = left
		}
		delete(standing, wanted.Name)
	}
	for _, offer := range standing {
		if err := p.Hub.Delete(ctx, offer); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete offer: %w", err)
		}
	}
	return next, nil
}

// renew creates an offer, or changes the standing one if it says something else or has stood for half of its time; a price that follows
// the market's waits for that. It returns how long the offer may stand like this. The wanted one becomes what stands.
func (p *pass) renew(ctx context.Context, standing, wanted *boursev1.GPUOffer, auto *boursev1.AutoPrice) (time.Duration, error) {
	if standing == nil {
		if err := p.Hub.Create(ctx, wanted); client.IgnoreAlreadyExists(err) != nil {
			return 0, fmt.Errorf("create offer: %w", err)
		}
		return validity / 2, nil
	}
	if left := standing.Spec.ValidUntil.Sub(p.Now()) - validity/2; left > 0 {
		same := wanted.Spec
		same.ValidUntil = standing.Spec.ValidUntil
		if bears(auto, standing.Spec.PriceUSD) {
			same.PriceUSD = standing.Spec.PriceUSD
		}
		if apiequality.Semantic.DeepEqual(same, standing.Spec) {
			wanted.Spec = same
			return left, nil
		}
	}
	changed := standing.DeepCopy()
	changed.Spec = wanted.Spec
	writer := kube.SpecWriter{Client: p.Hub}
	if err := writer.Write(ctx, standing, changed); err != nil {
		return 0, fmt.Errorf("change offer: %w", err)
	}
	return validity / 2, nil
}

// offer says what the market may know of one model: how many GPUs are free on how many nodes, and never which nodes.
func (p *pass) offer(pool *boursev1.GPUPool, entry *gpu.Holding) *boursev1.GPUOffer {
	counted := gpu.Shapes(entry.Free)
	shapes := make([]boursev1.NodeShape, 0, len(counted))
	for _, shape := range counted {
		shapes = append(shapes, boursev1.NodeShape{FreeGPUs: shape.Free, Nodes: shape.Nodes})
	}
	sharing := boursev1.SharingNone
	if entry.Partition {
		sharing = boursev1.SharingMIG
	}
	var until *metav1.Time
	if !p.until.IsZero() {
		until = new(metav1.NewTime(p.until))
	}
	return &boursev1.GPUOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: offerName(pool.Name, entry.Name)},
		Spec: boursev1.GPUOfferSpec{
			Pool: pool.Name, Model: boursev1.GPUModel(entry.Name), MemoryMiB: entry.MemoryMiB, Sharing: sharing, PriceUSD: p.asked[entry.Name],
			Tokens: pool.Spec.Tokens, Region: pool.Spec.Region, Terms: pool.Spec.Terms,
			FreeGPUs: new(entry.Counts.Free()), Shapes: shapes, AvailableUntil: until,
			ValidUntil: metav1.NewTime(p.Now().Add(validity).Truncate(time.Second)),
		},
	}
}

func offerName(pool, model string) string {
	const most = 253
	name := pool + "-" + model
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(sum[:4])
	return name[:most-len(suffix)] + suffix
}

// offers returns what the pool offers in the hub now.
func (r *Reconciler) offers(ctx context.Context, pool *boursev1.GPUPool) ([]boursev1.GPUOffer, error) {
	var all boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &all, client.InNamespace(r.Namespace)); err != nil {
		return nil, fmt.Errorf("list offers: %w", err)
	}
	var own []boursev1.GPUOffer
	for _, offer := range all.Items {
		if offer.Spec.Pool == pool.Name && offer.DeletionTimestamp.IsZero() {
			own = append(own, offer)
		}
	}
	return own, nil
}

// withdraw takes a pool that is being deleted out of the market. Leases that run go on. When the hub cannot be reached for as long as
// an offer stands by itself, there is nothing left to withdraw.
func (p *pass) withdraw(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(pool, Finalizer) {
		return reconcile.Result{}, nil
	}
	_, err := p.publish(ctx, pool, nil)
	if err != nil && p.Now().Before(pool.DeletionTimestamp.Add(validity)) {
		return reconcile.Result{}, err
	}
	delete(p.inventories, pool.Name)
	delete(p.faults, pool.Name)
	return reconcile.Result{}, kube.Free(ctx, p.Local, pool, Finalizer)
}
