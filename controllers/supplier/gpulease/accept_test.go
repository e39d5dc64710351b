// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestRefusesTermsThatAreNotItsOwn(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPULease, *boursev1.GPUPool)
		want   string
	}{
		"no such pool":           {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Name = "another" }, "no pool"},
		"a pool on hold":         {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Mode = boursev1.PoolHold }, "sells nothing"},
		"a pool that is drained": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Mode = boursev1.PoolDrain }, "being drained"},
		"a term that would run into maintenance": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.Maintenance = []boursev1.MaintenanceWindow{
				{Start: metav1.NewTime(builders.Start.Add(24 * time.Hour)), DurationSeconds: 3600},
				{Start: metav1.NewTime(builders.Start.Add(69 * time.Minute)), DurationSeconds: 3600},
			}
		}, "could last until 2027-03-01T13:10:00Z, and the pool has maintenance from 2027-03-01T13:09:00Z until 2027-03-01T14:09:00Z"},
		"maintenance that is under way": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.Maintenance = []boursev1.MaintenanceWindow{{Start: metav1.NewTime(builders.Start.Add(-time.Minute)), DurationSeconds: 120}}
		}, "maintenance from 2027-03-01T11:59:00Z"},
		"a price below the own": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.PriceUSD = "1.86" }, "asks 1.86"},
		"a model's own price": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.ModelPrices = []boursev1.ModelPrice{{Model: "h100", PriceUSD: "9"}}
		}, "asks 9"},
		"a price below the limits of one that follows the market's": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.PriceUSD, p.Spec.AutoPrice = "2", &boursev1.AutoPrice{MinUSD: "1.86", MaxUSD: "3"}
		}, "asks 1.86"},
		"a token it does not take": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Tokens = []boursev1.TokenSymbol{"USDC"} }, "take IO"},
		"a tier it does not have":  {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Tier = boursev1.TierFirm }, "Firm"},
		"a stronger isolation":     {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Isolation = boursev1.IsolationVM }, "isolate"},
		"more egress":              {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.Egress = boursev1.EgressInternet }, "egress"},
		"too long a term":          {func(_ *boursev1.GPULease, p *boursev1.GPUPool) { p.Spec.Terms.MaxDurationSeconds = 1800 }, "60 to 1800"},
		"more notice":              {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Terms.NoticeSeconds = 60 }, "notice"},
		"a buyer it does not serve": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.Terms.Buyers = []boursev1.SolanaAddress{builders.Address("somebody else")}
		}, "does not serve the buyer"},
		"an image it does not run": {func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
			p.Spec.Terms.Images = []boursev1.ImageRepository{"acme/"}
		}, "does not run the program's image"},
		"another wallet":     {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Supplier = builders.Address("thief") }, "instead of"},
		"another escrow":     {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Escrow.ID = wrongID() }, "escrow"},
		"a deposit for less": {func(l *boursev1.GPULease, _ *boursev1.GPUPool) { l.Spec.Payment.Deposit-- }, "does not cover"},
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

// TestMaintenanceThatTheTermDoesNotReachHindersNobody has one window that is over, and one that begins when the lease has ended.
func TestMaintenanceThatTheTermDoesNotReachHindersNobody(t *testing.T) {
	b := newBench(t, func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
		p.Spec.Maintenance = []boursev1.MaintenanceWindow{
			{Start: metav1.NewTime(builders.Start.Add(-2 * time.Minute)), DurationSeconds: 120},
			{Start: metav1.NewTime(builders.Start.Add(70 * time.Minute)), DurationSeconds: 3600},
		}
	})
	b.accepted()
}

// TestALeaseAtAnEarlierPriceIsAccepted has a price that has risen since the match, within the pool's limits.
func TestALeaseAtAnEarlierPriceIsAccepted(t *testing.T) {
	b := newBench(t, func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
		p.Spec.PriceUSD, p.Spec.AutoPrice = "2", &boursev1.AutoPrice{MinUSD: "1.85", MaxUSD: "3"}
	})
	b.accepted()
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

// A lease of another version of the rules is compared with those in force: only what matters to the supplier costs a new match.
func TestALeaseOfAnotherVersionOfTheRulesIsCompared(t *testing.T) {
	cases := map[string]struct {
		market func(*boursev1.Market)
		says   string
	}{
		"nothing that matters changed": {func(m *boursev1.Market) { m.Spec.Settlement.GraceSeconds++ }, ""},
		"the supplier's fee rose":      {func(m *boursev1.Market) { m.Spec.Fees.SupplierBps = new(int32(50)) }, ""},
		"the supplier's fee fell": {
			func(m *boursev1.Market) { m.Spec.Fees.SupplierBps = new(int32(10)) },
			"higher fee than the market; it names version 1 of the rules, and 2 is in force",
		},
		"the token lost half its price": {
			func(m *boursev1.Market) { m.Spec.Tokens[0].PriceUSD = "0.5" }, "it names version 1 of the rules, and 2 is in force",
		},
		"the token is not taken any more": {func(m *boursev1.Market) { m.Spec.Tokens = m.Spec.Tokens[1:] }, "does not take IO"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			market := builders.Market()
			b.hub.Read(market)
			tc.market(market)
			market.Generation = 2
			b.hub.Edit(market)
			if tc.says == "" {
				b.accepted()
				return
			}
			b.rest()
			b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
			if !strings.Contains(b.lease.Status.End.Message, tc.says) {
				t.Errorf("%q does not say %q", b.lease.Status.End.Message, tc.says)
			}
		})
	}
}

// A version that our cache does not have yet is waited for; one that never comes is refused by its name.
func TestALeaseOfAVersionThatIsNotHereYetIsWaitedFor(t *testing.T) {
	b := newBench(t, func(lease *boursev1.GPULease, _ *boursev1.GPUPool) { lease.Spec.Payment.MarketGeneration = 2 })
	if _, err := b.try(); err == nil || b.lease.Status.End != nil || len(b.pods()) > 0 {
		t.Fatalf("err %v, end %+v, %d pods; want only an error", err, b.lease.Status.End, len(b.pods()))
	}
	market := builders.Market()
	b.hub.Read(market)
	market.Generation = 2
	b.hub.Edit(market)
	b.accepted()

	never := newBench(t, func(lease *boursev1.GPULease, _ *boursev1.GPUPool) { lease.Spec.Payment.MarketGeneration = 2 })
	never.hub.Step(time.Minute)
	never.rest()
	never.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
	if !strings.Contains(never.lease.Status.End.Message, "names version 2 of the market's rules, and 1 is in force") {
		t.Errorf("it says %q", never.lease.Status.End.Message)
	}
}
