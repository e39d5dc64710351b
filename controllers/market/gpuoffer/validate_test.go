// SPDX-License-Identifier: Apache-2.0

package gpuoffer

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func pass(t *testing.T, hub *fakehub.Hub) (*metav1.Condition, reconcile.Result) {
	t.Helper()
	offer := builders.Offer(builders.Supplier, "h100")
	hub.Read(offer)
	r := &Reconciler{Teller: hub.Teller(), Hub: hub, Now: hub.Now}
	result, err := r.Reconcile(t.Context(), offer)
	if err != nil {
		t.Fatal(err)
	}
	hub.Read(offer)
	return meta.FindStatusCondition(offer.Status.Conditions, boursev1.Ready), result
}

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPUOffer, *boursev1.Member, *boursev1.Market)
		status metav1.ConditionStatus
		reason string
		again  time.Duration
	}{
		"an offer that counts": {
			status: metav1.ConditionTrue, reason: boursev1.ReasonValid, again: 5 * time.Minute,
		},
		"an offer that was not renewed": {
			change: func(o *boursev1.GPUOffer, _ *boursev1.Member, _ *boursev1.Market) {
				o.Spec.ValidUntil = metav1.NewTime(builders.Start)
			},
			status: metav1.ConditionFalse, reason: boursev1.ReasonExpired, again: kept,
		},
		"an offer for as long as any may stand": {
			change: func(o *boursev1.GPUOffer, _ *boursev1.Member, _ *boursev1.Market) {
				o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(15 * time.Minute))
			},
			status: metav1.ConditionTrue, reason: boursev1.ReasonValid, again: 15 * time.Minute,
		},
		"an offer that would outlast its supplier": {
			change: func(o *boursev1.GPUOffer, _ *boursev1.Member, _ *boursev1.Market) {
				o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(time.Hour))
			},
			status: metav1.ConditionFalse, reason: boursev1.ReasonTooFarAhead, again: 45 * time.Minute,
		},
		"an offer of a member that is not admitted": {
			change: func(_ *boursev1.GPUOffer, m *boursev1.Member, _ *boursev1.Market) { m.Status.Conditions = nil },
			status: metav1.ConditionFalse, reason: boursev1.ReasonMemberNotReady, again: 5 * time.Minute,
		},
		"an offer in tokens that the market does not know": {
			change: func(o *boursev1.GPUOffer, _ *boursev1.Member, _ *boursev1.Market) {
				o.Spec.Tokens = []boursev1.TokenSymbol{"USDT"}
			},
			status: metav1.ConditionFalse, reason: boursev1.ReasonUnknownToken, again: 5 * time.Minute,
		},
		"an offer of which the market knows one token": {
			change: func(o *boursev1.GPUOffer, _ *boursev1.Member, _ *boursev1.Market) {
				o.Spec.Tokens = []boursev1.TokenSymbol{"USDT", "IO"}
			},
			status: metav1.ConditionTrue, reason: boursev1.ReasonValid, again: 5 * time.Minute,
		},
		"a hub whose market is not ready": {
			change: func(_ *boursev1.GPUOffer, _ *boursev1.Member, m *boursev1.Market) { m.Status.Conditions = nil },
			status: metav1.ConditionUnknown, reason: boursev1.ReasonNoMarket, again: 5 * time.Minute,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			offer, member, market := builders.Offer(builders.Supplier, "h100"), builders.Member(builders.Supplier), builders.Market()
			offer.Status.Conditions = nil
			if tc.change != nil {
				tc.change(offer, member, market)
			}
			hub := fakehub.New(t, nil, offer, member, market)
			got, result := pass(t, hub)
			if got == nil || got.Status != tc.status || got.Reason != tc.reason || result.RequeueAfter != tc.again {
				t.Errorf("Ready is %+v, again in %s; want %s/%s, again in %s", got, result.RequeueAfter, tc.status, tc.reason, tc.again)
			}
			if wrote := hub.Writes(func() { pass(t, hub) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestAnOfferExpiresAndIsRenewed(t *testing.T) {
	hub := fakehub.New(t, nil, builders.Offer(builders.Supplier, "h100"), builders.Member(builders.Supplier), builders.Market())
	_, result := pass(t, hub)
	hub.Step(result.RequeueAfter)
	if got, _ := pass(t, hub); got.Reason != boursev1.ReasonExpired {
		t.Errorf("Ready has reason %s, want Expired", got.Reason)
	}
	offer := builders.Offer(builders.Supplier, "h100")
	hub.Read(offer)
	offer.Spec.ValidUntil = metav1.NewTime(hub.Now().Add(time.Minute))
	hub.Edit(offer)
	if got, _ := pass(t, hub); got.Reason != boursev1.ReasonValid {
		t.Errorf("Ready has reason %s, want Valid", got.Reason)
	}
}

func TestWhatASupplierWritesIsAnsweredOnlyWithNews(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPUOffer)
		writes int
		reason string
	}{
		"a renewal": {func(o *boursev1.GPUOffer) {
			o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(6 * time.Minute))
		}, 0, boursev1.ReasonValid},
		"another price":  {func(o *boursev1.GPUOffer) { o.Spec.PriceUSD = "1.90" }, 0, boursev1.ReasonValid},
		"another token":  {func(o *boursev1.GPUOffer) { o.Spec.Tokens = []boursev1.TokenSymbol{"USDT"} }, 1, boursev1.ReasonUnknownToken},
		"a time too far": {func(o *boursev1.GPUOffer) { o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(time.Hour)) }, 1, boursev1.ReasonTooFarAhead},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub := fakehub.New(t, nil, builders.Offer(builders.Supplier, "h100"), builders.Member(builders.Supplier), builders.Market())
			pass(t, hub)
			offer := builders.Offer(builders.Supplier, "h100")
			hub.Read(offer)
			tc.change(offer)
			offer.Generation++
			hub.Edit(offer)
			var got *metav1.Condition
			if wrote := hub.Writes(func() { got, _ = pass(t, hub) }); len(wrote) != tc.writes {
				t.Errorf("wrote %v, want %d writes", wrote, tc.writes)
			}
			if got.Reason != tc.reason || got.ObservedGeneration != 0 {
				t.Errorf("Ready is %+v, want %s and no generation", got, tc.reason)
			}
			if wrote := hub.Writes(func() { pass(t, hub) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestAnOfferThatNobodyRenewsIsRemoved(t *testing.T) {
	cases := map[string]struct {
		happens func(hub *fakehub.Hub, offer *boursev1.GPUOffer) // after the offer was read for the last time
		there   bool
	}{
		"after a day": {func(*fakehub.Hub, *boursev1.GPUOffer) {}, false},
		"but not when it is renewed just now": {func(hub *fakehub.Hub, offer *boursev1.GPUOffer) {
			offer.Spec.ValidUntil = metav1.NewTime(hub.Now().Add(time.Minute))
			hub.Edit(offer)
		}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub := fakehub.New(t, nil, builders.Offer(builders.Supplier, "h100"), builders.Member(builders.Supplier), builders.Market())
			_, result := pass(t, hub)
			hub.Step(result.RequeueAfter)
			_, result = pass(t, hub)
			hub.Step(result.RequeueAfter - time.Second)
			pass(t, hub) // fails if it is gone
			hub.Step(time.Second)
			offer := builders.Offer(builders.Supplier, "h100")
			hub.Read(offer)
			tc.happens(hub, offer.DeepCopy())
			r := &Reconciler{Teller: hub.Teller(), Hub: hub, Now: hub.Now}
			if _, err := r.Reconcile(t.Context(), offer); err != nil {
				t.Fatal(err)
			}
			err := hub.Get(t.Context(), client.ObjectKeyFromObject(offer), offer)
			if client.IgnoreNotFound(err) != nil || (err == nil) != tc.there {
				t.Errorf("it is there: %v, want %t", err, tc.there)
			}
		})
	}
}

func TestAnOfferTooFarAheadCountsWhenItsTimeComes(t *testing.T) {
	offer := builders.Offer(builders.Supplier, "h100")
	offer.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(16 * time.Minute))
	hub := fakehub.New(t, nil, offer, builders.Member(builders.Supplier), builders.Market())
	got, result := pass(t, hub)
	if got.Reason != boursev1.ReasonTooFarAhead {
		t.Errorf("Ready has reason %s, want TooFarAhead", got.Reason)
	}
	hub.Step(result.RequeueAfter)
	if got, _ := pass(t, hub); got.Reason != boursev1.ReasonValid {
		t.Errorf("Ready has reason %s, want Valid", got.Reason)
	}
}

func TestAMemberWakesItsOwnOffers(t *testing.T) {
	hub := fakehub.New(t, nil, builders.Offer(builders.Supplier, "a"), builders.Offer("rome-dc", "b"))
	r := &Reconciler{Hub: hub}
	if got := r.offers(t.Context(), client.InNamespace("rome-dc")); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("woken: %v, want b", got)
	}
	if got := r.offers(t.Context()); len(got) != 2 {
		t.Errorf("woken: %v, want both", got)
	}
}
