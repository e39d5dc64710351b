// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestRefusesTermsThatAreNotItsOwn(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPULease, *boursev1.GPUPool)
		want   string
	}{
		"no such pool":          {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Name = "another" }, "no pool"},
		"a pool on hold":        {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Mode = boursev1.PoolHold }, "sells nothing"},
		"a price below the own": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.PriceUSD = "1.86" }, "asks 1.86"},
		"a model's own price": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.ModelPrices = []boursev1.ModelPrice{{Model: "h100", PriceUSD: "9"}}
		}, "asks 9"},
		"a token it does not take": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Tokens = []boursev1.TokenSymbol{"USDC"} }, "take IO"},
		"a tier it does not have":  {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Tier = boursev1.TierFirm }, "Firm"},
		"a stronger isolation":     {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Isolation = boursev1.IsolationVM }, "isolate"},
		"more egress":              {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Egress = boursev1.EgressInternet }, "egress"},
		"too long a term":          {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Terms.MaxDurationSeconds = 1800 }, "60 to 1800"},
		"more notice":              {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.NoticeSeconds = 60 }, "notice"},
		"an old Ray":               {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Ray.Version = "2.9.0" }, "token authentication"},
		"a variable of the operator": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) {
			l.Spec.Ray.Env = []boursev1.EnvVar{{Name: "NVIDIA_VISIBLE_DEVICES", Value: new("all")}}
		}, "NVIDIA_VISIBLE_DEVICES"},
		"memory without bounds": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Ray.HeadMemory = resource.Quantity{} }, "no bounds"},
		"another wallet":        {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Supplier = builders.Address("thief") }, "instead of"},
		"another escrow":        {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Escrow.ID = wrongID() }, "escrow"},
		"a deposit for less":    {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.Deposit-- }, "does not cover"},
		"an early refund": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) {
			l.Spec.Escrow.Deadline = metav1.NewTime(builders.Start.Add(time.Hour))
		}, "refunded before"},
		"another treasury":                     {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.Treasury = builders.Address("thief") }, "treasury"},
		"another mint":                         {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.Mint = builders.Address("thief") }, "mint"},
		"fewer tokens than the price is worth": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.PricePerGPUHour-- }, "base units"},
		"a place held for an hour": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) {
			l.Spec.AcceptBy = metav1.NewTime(builders.Start.Add(time.Hour))
		}, "long"},
		"a higher fee": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.SupplierFeeBps = new(int32(26)) }, "fee"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(l *boursev1.GPULease, p *boursev1.GPUPool) {
				tc.change(l, p)
				readdress(t, l)
			})
			if name == "another escrow" {
				b = newBench(t, tc.change)
			}
			b.pass()
			b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonTermsRefused)
			b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
			if got := b.lease.Status.End.Message; !strings.Contains(got, tc.want) {
				t.Errorf("it says %q, which does not name %q", got, tc.want)
			}
			if got := len(b.pods()); got != 0 {
				t.Errorf("%d pods hold GPUs for terms that are refused", got)
			}
			b.rest()
			b.want(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotAccepted)
			b.nothingLeft()
		})
	}
}

// readdress makes the escrow's address that of the terms, so that only what the test changed is wrong.
func readdress(t *testing.T, lease *boursev1.GPULease) {
	t.Helper()
	b := bench{t: t, lease: lease}
	_, address := b.addresses()
	lease.Spec.Escrow.Address = boursev1.SolanaAddress(address.String())
}

func TestLeasesOfOthersAreLeftAlone(t *testing.T) {
	b := newBench(t, nil)
	r := b.controller()
	r.Namespace = "somebody-else"
	if wrote := b.hub.Writes(func() {
		if _, err := r.Reconcile(t.Context(), b.lease); err != nil {
			t.Fatal(err)
		}
	}); len(wrote) != 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

func TestNamespacesHaveRoom(t *testing.T) {
	long := &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("a", 60)}}
	other := &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("a", 59) + "b"}}
	if len(space(long)) > 63 || space(long) == space(other) {
		t.Errorf("namespaces %s and %s", space(long), space(other))
	}
}
