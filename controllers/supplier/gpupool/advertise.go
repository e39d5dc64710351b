// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// validity is how long an offer stands without its supplier; it is renewed at half of that.
const validity = 5 * time.Minute

// memberName is how the Member in every member's namespace is called.
const memberName = "member"

// advertise publishes one offer for each model, and withdraws those of models that are gone.
func (p *pass) advertise(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	admitted, err := p.admitted(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	models := p.models
	if !admitted || pool.Spec.Mode == boursev1.PoolHold {
		models = nil
	}
	next, err := p.publish(ctx, pool, models)
	if err != nil {
		return reconcile.Result{}, err
	}
	p.conclude(pool, admitted)
	if p.cooling && (next == 0 || p.wake < next) {
		next = p.wake
	}
	return reconcile.Result{RequeueAfter: next}, nil
}

// conclude says how the pool fares.
func (p *pass) conclude(pool *boursev1.GPUPool, admitted bool) {
	offered := number(pool.Status.GPUs.Offered)
	switch {
	case !admitted:
		kube.Waiting(pool, boursev1.PoolAdvertised, boursev1.ReasonNoMember, "The namespace "+p.Namespace+" in the hub has no admitted Member")
		kube.Waiting(pool, boursev1.Ready, boursev1.ReasonNoMember, "The namespace "+p.Namespace+" in the hub has no admitted Member")
		return
	case pool.Spec.Mode == boursev1.PoolHold:
		kube.Failed(pool, boursev1.PoolAdvertised, boursev1.ReasonOnHold, "The pool's mode is Hold")
		kube.Failed(pool, boursev1.Ready, boursev1.ReasonOnHold, "The pool's mode is Hold")
		return
	case !kube.IsTrue(pool, boursev1.PoolDiscovered):
		why := discovered(pool)
		kube.Failed(pool, boursev1.PoolAdvertised, why.Reason, why.Message)
		kube.Failed(pool, boursev1.Ready, why.Reason, why.Message)
		return
	case offered > 0:
		kube.True(pool, boursev1.PoolAdvertised, boursev1.ReasonOffered, "The market knows what is idle")
	case p.cooling:
		kube.Waiting(pool, boursev1.PoolAdvertised, boursev1.ReasonCooling, "Free GPUs are not idle for long enough yet")
		kube.Waiting(pool, boursev1.Ready, boursev1.ReasonCooling, "Free GPUs are not idle for long enough yet")
		return
	default:
		kube.Waiting(pool, boursev1.PoolAdvertised, boursev1.ReasonBusy, "No GPU is free for the market")
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

// admitted says whether the supplier may take part in the market.
func (r *Reconciler) admitted(ctx context.Context) (bool, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: memberName}, &member)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get member: %w", err)
	}
	return kube.IsTrue(&member, boursev1.Ready), nil
}

// publish makes the pool's offers in the hub what they are to be, and returns when the first of them must be renewed.
func (p *pass) publish(ctx context.Context, pool *boursev1.GPUPool, models []*model) (time.Duration, error) {
	offers, err := p.offers(ctx, pool)
	if err != nil {
		return 0, err
	}
	standing := map[string]*boursev1.GPUOffer{}
	for i := range offers {
		standing[offers[i].Name] = &offers[i]
	}
	var next time.Duration
	for _, entry := range models {
		wanted := p.offer(pool, entry)
		left, err := p.renew(ctx, standing[wanted.Name], wanted)
		if err != nil {
			return 0, err
		}
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

// renew creates an offer, or changes the standing one if it says something else or has stood for half of its time. It returns how long
// it may stand like this.
func (p *pass) renew(ctx context.Context, standing, wanted *boursev1.GPUOffer) (time.Duration, error) {
	if standing == nil {
		if err := p.Hub.Create(ctx, wanted); client.IgnoreAlreadyExists(err) != nil {
			return 0, fmt.Errorf("create offer: %w", err)
		}
		return validity / 2, nil
	}
	changed := standing.DeepCopy()
	changed.Spec = wanted.Spec
	left := standing.Spec.ValidUntil.Sub(p.Now()) - validity/2
	if left > 0 {
		changed.Spec.ValidUntil = standing.Spec.ValidUntil
		if apiequality.Semantic.DeepEqual(changed.Spec, standing.Spec) {
			return left, nil
		}
		changed.Spec.ValidUntil = wanted.Spec.ValidUntil
	}
	writer := kube.SpecWriter{Client: p.Hub}
	if err := writer.Write(ctx, standing, changed); err != nil {
		return 0, fmt.Errorf("change offer: %w", err)
	}
	return validity / 2, nil
}

// offer says what the market may know of one model: how many GPUs are free on how many nodes, and never which nodes.
func (p *pass) offer(pool *boursev1.GPUPool, entry *model) *boursev1.GPUOffer {
	free := make([]int32, 0, len(entry.nodes))
	for _, counts := range entry.nodes {
		free = append(free, counts.Free())
	}
	counted := gpu.Shapes(free)
	shapes := make([]boursev1.NodeShape, 0, len(counted))
	for _, shape := range counted {
		shapes = append(shapes, boursev1.NodeShape{FreeGPUs: shape.Free, Nodes: shape.Nodes})
	}
	sharing, price := boursev1.SharingNone, pool.Spec.PriceUSD
	if entry.Partition {
		sharing = boursev1.SharingMIG
	}
	for _, own := range pool.Spec.ModelPrices {
		if string(own.Model) == entry.Name {
			price = own.PriceUSD
		}
	}
	return &boursev1.GPUOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: offerName(pool.Name, entry.Name)},
		Spec: boursev1.GPUOfferSpec{
			Pool: pool.Name, Model: boursev1.GPUModel(entry.Name), MemoryMiB: entry.MemoryMiB, Sharing: sharing, PriceUSD: price,
			Tokens: pool.Spec.Tokens, Region: pool.Spec.Region, Terms: pool.Spec.Terms,
			FreeGPUs: new(entry.total.Free()), Shapes: shapes,
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
	delete(p.trackers, pool.Name)
	return reconcile.Result{}, kube.Free(ctx, p.Local, pool, Finalizer)
}
