// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/chaintest"
)

// leastIO is what a swap of theFees must yield when half of a percent may be lost on the way.
const leastIO = fairIO * 9_950 / 10_000

func succeeded(burn *boursev1.FeeBurn) bool { return kube.IsTrue(burn, boursev1.Succeeded) }

func reason(burn *boursev1.FeeBurn) string {
	found := meta.FindStatusCondition(burn.Status.Conditions, boursev1.Succeeded)
	if found == nil {
		return ""
	}
	return found.Reason
}

func TestFeesAreBoughtBackAndBurned(t *testing.T) {
	l := newLab(t)
	r := l.replica()
	l.begin(r)
	burn, result, err := l.pass(r)
	l.must(err)
	back := burn.Status.BuyBack
	if back == nil || back.Transaction.State != boursev1.TransactionSigned || reason(burn) != boursev1.ReasonBuyingBack || result.RequeueAfter != drive {
		t.Fatalf("after the first pass: %+v, next in %s", burn.Status, result.RequeueAfter)
	}
	l.must(l.sim.Tick(t.Context(), finalLag+1))
	if l.landings() != 0 {
		t.Error("the transaction was sent before it was written down")
	}
	burn = l.finish(r)
	l.checkOnce(burn)
	if burn.Status.Amount != "19.90 IO" || burn.Status.FeesAmount != "10.00 USDC" || *burn.Status.Claims != 2 || reason(burn) != boursev1.ReasonBurned {
		t.Errorf("status %+v", burn.Status)
	}
	if left := l.leftover(); left != fairIO-leastIO {
		t.Errorf("%s are left for the next burn, want %d", left, fairIO-leastIO)
	}
	if wrote := l.hub.Writes(func() { _, _, _ = l.pass(r) }); len(wrote) != 0 {
		t.Errorf("another pass wrote %v", wrote)
	}
}

// What one epoch's swap yields beyond what it had to is burned with the next one's.
func TestTheSurplusIsBurnedNextTime(t *testing.T) {
	l := newLab(t)
	r := l.replica()
	l.finishFirst(r)
	next := l.paid(3, 5_000_000)
	next.Spec.Time = metav1.NewTime(next.Spec.Time.Add(epoch))
	l.must(l.hub.Create(t.Context(), next))
	l.hub.Step(epoch)
	l.publish(50_000_000, 10_000)
	was, first := theWait, l.burn()
	theWait.Name = "usdc-2027-03-02"
	t.Cleanup(func() { theWait = was })
	l.begin(r)
	second := l.finish(r)
	want := money.Amount(leastIO/2 + fairIO - leastIO)
	if got := units(second.Status.BuyBack.Burned); got != want {
		t.Errorf("the second epoch burned %s, want %s", got, want)
	}
	if got := l.supply(); got != allTokens-units(first.Status.BuyBack.Burned)-want {
		t.Errorf("supply is %s", got)
	}
	if got := l.balance(l.tokens("IO")); got != ownIO {
		t.Errorf("the treasury's own IO became %s", got)
	}
}

func (l *lab) finishFirst(r *Reconciler) {
	l.t.Helper()
	l.begin(r)
	l.finish(r)
}

// Whatever step the operator dies at, and whatever is lost on the way, the fees are spent once.
func TestKilledAtEveryStepItBuysBackOnce(t *testing.T) {
	lost := errors.New("killed")
	cases := map[string]func(l *lab, r *Reconciler){
		"before the record is written": func(l *lab, r *Reconciler) {
			l.hub.Fail(func(verb string, _ client.Object) error {
				if verb == "patch status" {
					return lost
				}
				return nil
			})
			if _, _, err := l.pass(r); !errors.Is(err, lost) {
				l.t.Fatalf("err = %v, want %v", err, lost)
			}
			l.hub.Fail(nil)
		},
		"after the record is written": func(l *lab, r *Reconciler) {
			_, _, err := l.pass(r)
			l.must(err)
		},
		"after it was sent": func(l *lab, r *Reconciler) {
			for range 2 {
				_, _, err := l.pass(r)
				l.must(err)
			}
		},
		"when the answer to sending is lost": func(l *lab, r *Reconciler) {
			_, _, err := l.pass(r)
			l.must(err)
			_, err = l.sim.Rule(l.t.Context(), chaintest.Rule{Action: chaintest.LoseResponse, Method: "sendTransaction", Times: 1})
			l.must(err)
			if _, _, err := l.pass(r); err == nil {
				l.t.Fatal("the lost answer was no error")
			}
		},
		"when what was sent never arrives": func(l *lab, r *Reconciler) {
			_, _, err := l.pass(r)
			l.must(err)
			_, err = l.sim.Rule(l.t.Context(), chaintest.Rule{Action: chaintest.Drop, Method: "sendTransaction", Times: 1})
			l.must(err)
			_, _, err = l.pass(r)
			l.must(err)
		},
		"when it landed and the result is not written": func(l *lab, r *Reconciler) {
			for range 2 {
				_, _, err := l.pass(r)
				l.must(err)
			}
			l.must(l.sim.Tick(l.t.Context(), finalLag+2))
			l.hub.Fail(func(string, client.Object) error { return lost })
			if _, _, err := l.pass(r); !errors.Is(err, lost) {
				l.t.Fatalf("err = %v, want %v", err, lost)
			}
			l.hub.Fail(nil)
		},
		"when another fork wins": func(l *lab, r *Reconciler) {
			for range 2 {
				_, _, err := l.pass(r)
				l.must(err)
			}
			l.must(l.sim.Tick(l.t.Context(), 2))
			_, err := l.sim.Rollback(l.t.Context(), 2, false)
			l.must(err)
		},
	}
	for name, die := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.begin(l.replica())
			die(l, l.replica())
			l.checkOnce(l.finish(l.replica()))
		})
	}
}

// Two operators with one key: only the one whose record was accepted may send, and the chain has room for one.
func TestTwoReplicasBuyBackOnce(t *testing.T) {
	l := newLab(t)
	first, second := l.replica(), l.replica()
	l.begin(first)
	stale := l.burn()
	_, _, err := l.pass(first)
	l.must(err)
	signed := l.burn().Status.BuyBack.Transaction.Signature
	// The second one read the epoch before the first had signed.
	behind := stale.DeepCopy()
	if _, err := kube.Run(t.Context(), second.Teller, behind, second.record, second.land, second.buyBack); err != nil {
		t.Fatal(err)
	}
	if got := l.burn().Status.BuyBack.Transaction.Signature; got != signed {
		t.Fatalf("the second replica's transaction %s replaced %s", got, signed)
	}
	// Even if it sends what nobody wrote down, and lands first, the chain refuses the other.
	_, _, err = l.pass(second)
	l.must(err)
	l.checkOnce(l.finish(first))
}

// An operator that lost its records, or was restored from an old backup, finds on the chain what it did.
func TestALostRecordIsReadFromTheChain(t *testing.T) {
	l := newLab(t)
	r := l.replica()
	l.begin(r)
	before := l.finish(r)
	l.must(l.hub.Delete(t.Context(), l.burn()))
	l.publish(50_000_000, 10_000)
	l.begin(r)
	after := l.finish(r)
	l.checkOnce(after)
	if before.Status.BuyBack.Transaction.Signature != after.Status.BuyBack.Transaction.Signature {
		t.Error("it is recorded as another transaction")
	}
}

// A record of before the signature, restored while the transaction landed, ends in a transaction that the chain refuses.
func TestASecondTransactionOfAnEpochFailsOnChain(t *testing.T) {
	l := newLab(t)
	r := l.replica()
	l.begin(r)
	early, _, err := l.pass(r)
	l.must(err)
	rival := early.DeepCopy()
	l.must(l.sim.Tick(t.Context(), 1)) // another blockhash: another transaction
	rival.Status.BuyBack = nil
	if _, err := r.buyBack(t.Context(), rival); err != nil {
		t.Fatal(err)
	}
	if rival.Status.BuyBack.Transaction.Signature == early.Status.BuyBack.Transaction.Signature {
		t.Fatal("the rival is the same transaction")
	}
	l.checkOnce(l.finish(r))
	for range 3 {
		if _, err := r.land(t.Context(), rival); err != nil {
			t.Fatal(err)
		}
		l.must(l.sim.Tick(t.Context(), finalLag+1))
	}
	if tx := rival.Status.BuyBack.Transaction; tx.State != boursev1.TransactionFailed || !strings.Contains(tx.Error, "instruction") {
		t.Errorf("the rival's transaction is %s: %s", tx.State, tx.Error)
	}
	l.checkOnce(l.burn())
}

func TestWhatStandsInTheWayIsSaid(t *testing.T) {
	cases := map[string]struct {
		spoil func(l *lab, r *Reconciler)
		want  string
	}{
		"no key":                   {func(_ *lab, r *Reconciler) { r.Treasury = nil }, boursev1.ReasonTreasuryKeyMissing},
		"another key":              {func(_ *lab, r *Reconciler) { r.Treasury = wallet("stranger") }, boursev1.ReasonTreasuryKeyMissing},
		"an empty treasury":        {func(l *lab, _ *Reconciler) { l.setTokens(l.tokens("USDC"), "USDC", l.treasury.PublicKey(), theFees-1) }, boursev1.ReasonTreasuryShort},
		"a treasury of another":    {func(l *lab, _ *Reconciler) { l.setTokens(l.tokens("USDC"), "USDC", named("stranger"), ownUSDC) }, boursev1.ReasonTreasuryRefused},
		"an old price":             {func(l *lab, _ *Reconciler) { l.hub.Step(61 * time.Second) }, boursev1.ReasonPriceStale},
		"an uncertain price":       {func(l *lab, _ *Reconciler) { l.publish(50_000_000, 500_001) }, boursev1.ReasonPriceUncertain},
		"no oracle":                {func(l *lab, _ *Reconciler) { l.set(named("feed"), named("stranger"), nil) }, boursev1.ReasonOracleMissing},
		"a dearer price":           {func(l *lab, _ *Reconciler) { l.publish(49_000_000, 10_000) }, boursev1.ReasonPriceOutsideBound},
		"a cheaper price":          {func(l *lab, _ *Reconciler) { l.publish(51_000_000, 10_000) }, boursev1.ReasonPriceOutsideBound},
		"an API that is down":      {func(l *lab, _ *Reconciler) { l.status = 503 }, boursev1.ReasonSwapUnavailable},
		"an API that is busy":      {func(l *lab, _ *Reconciler) { l.status = 429 }, boursev1.ReasonSwapUnavailable},
		"no API key":               {func(l *lab, _ *Reconciler) { l.status = 401 }, boursev1.ReasonSwapUnavailable},
		"an exchange short of out": {func(l *lab, _ *Reconciler) { l.cheat(10_000, 9_949) }, boursev1.ReasonRouteRefused},
		"a swap of a part":         {func(l *lab, _ *Reconciler) { l.cheat(9_999, 10_000) }, boursev1.ReasonRouteRefused},
		"a swap that takes more":   {func(l *lab, _ *Reconciler) { l.cheat(10_001, 10_000) }, boursev1.ReasonRouteRefused},
		"a swap that yields more":  {func(l *lab, _ *Reconciler) { l.cheat(10_000, 10_201) }, boursev1.ReasonPriceOutsideBound},
	}
	l := newLab(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { l.checkRefusal(t, tc.want, tc.spoil) })
	}
}

func TestHostileRoutesAreNotSigned(t *testing.T) {
	set := func(key string, value any) func(*lab, map[string]any) {
		return func(_ *lab, answer map[string]any) { answer[key] = value }
	}
	account := func(of func(*lab) any) func(*lab, map[string]any) {
		return func(l *lab, answer map[string]any) {
			call, _ := answer["swapInstruction"].(map[string]any)
			accounts, _ := call["accounts"].([]any)
			answer["swapInstruction"] = with(answer, "accounts", append(accounts, of(l)))
		}
	}
	cases := map[string]struct {
		spoil func(*lab, map[string]any)
		want  string
		says  string
	}{
		"a tip":             {set("tipInstruction", map[string]any{"programId": chain.SystemProgram.String(), "data": ""}), boursev1.ReasonRouteRefused, "pays a tip"},
		"garbage":           {set("inAmount", "ten"), boursev1.ReasonRouteRefused, "does not answer as"},
		"another amount":    {set("inAmount", "10000001"), boursev1.ReasonRouteRefused, "takes another amount"},
		"too little":        {set("otherAmountThreshold", "1"), boursev1.ReasonPriceOutsideBound, "too little"},
		"a foreign program": {func(_ *lab, a map[string]any) { a["swapInstruction"] = with(a, "programId", named("thief").String()) }, boursev1.ReasonRouteRefused, "not in spec.buyBack.programs"},
		"another signer":    {account(func(*lab) any { return metaOf(named("thief").String(), true, false) }), boursev1.ReasonRouteRefused, "signature of somebody else"},
		"our own IO":        {account(func(l *lab) any { return metaOf(l.tokens("IO").String(), false, true) }), boursev1.ReasonRouteRefused, "another token account of the treasury"},
		"a transfer beside": {set("setupInstructions", []any{map[string]any{"programId": chain.TokenProgram.String(), "data": "Aw=="}}), boursev1.ReasonRouteRefused, "may never be"},
		"an unknown table":  {set("addressesByLookupTableAddress", map[string]any{named("thief").String(): nil}), boursev1.ReasonRouteRefused, "lookup table"},
		"a detour": {func(l *lab, a map[string]any) {
			a["swapInstruction"] = l.exchangeCall(named("thief").String(), theFees, 1)
		}, boursev1.ReasonRouteRefused, "does not lead"},
		"less than it says": {func(l *lab, a map[string]any) {
			_, _, to := l.places()
			a["swapInstruction"] = l.exchangeCall(to.String(), theFees-1, 1)
		}, boursev1.ReasonRouteRefused, "Simulated, the swap takes another amount"},
		"too long": {func(_ *lab, a map[string]any) {
			call, _ := a["swapInstruction"].(map[string]any)
			accounts, _ := call["accounts"].([]any)
			for i := range 40 {
				accounts = append(accounts, metaOf(named("filler "+string(rune('A'+i))).String(), false, false))
			}
			a["swapInstruction"] = with(a, "accounts", accounts)
		}, boursev1.ReasonRouteRefused, "does not fit"},
	}
	l := newLab(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l.checkRefusal(t, tc.want, func(l *lab, _ *Reconciler) { l.spoil = func(answer map[string]any) { tc.spoil(l, answer) } })
			if said := meta.FindStatusCondition(l.burn().Status.Conditions, boursev1.Succeeded).Message; !strings.Contains(said, tc.says) {
				t.Errorf("it says %q, want %q", said, tc.says)
			}
		})
	}
}

func (l *lab) places() (from, receipt, into chain.Address) {
	l.t.Helper()
	terms, err := rule{market: l.market, token: &l.market.Spec.Tokens[1]}.terms(l.burn())
	l.must(err)
	at, err := terms.Places()
	l.must(err)
	return at.From, at.Receipt, at.Into
}

// checkRefusal spoils one thing, and expects its reason, no transaction, and a second pass that writes nothing. It mends all afterwards.
func (l *lab) checkRefusal(t *testing.T, want string, spoil func(l *lab, r *Reconciler)) {
	t.Helper()
	r := l.replica()
	defer func() {
		l.spoil, l.status = func(map[string]any) {}, 200
		l.cheat(10_000, 10_000)
		l.setTokens(l.tokens("USDC"), "USDC", l.treasury.PublicKey(), ownUSDC)
		l.publish(50_000_000, 10_000)
		l.must(l.sim.Tick(l.t.Context(), finalLag+1))
	}()
	l.publish(50_000_000, 10_000)
	spoil(l, r)
	l.must(l.sim.Tick(l.t.Context(), finalLag+1))
	l.begin(r)
	burn, result, err := l.pass(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := reason(burn); got != want || burn.Status.BuyBack != nil || result.RequeueAfter != retry {
		t.Errorf("reason %s, want %s; buy-back %+v; next pass in %s", got, want, burn.Status.BuyBack, result.RequeueAfter)
	}
	if wrote := l.hub.Writes(func() { _, _, _ = l.pass(r) }); len(wrote) != 0 {
		t.Errorf("a second pass wrote %v", wrote)
	}
}

func TestTheMarketSaysWhetherAndHowMuch(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.Market)
		want   string
		spend  int64
	}{
		"off":               {func(m *boursev1.Market) { m.Spec.BuyBack = nil }, boursev1.ReasonBuyBackOff, 0},
		"paused":            {func(m *boursev1.Market) { m.Spec.BuyBack.State = boursev1.BuyBackPaused }, boursev1.ReasonBuyBackPaused, 0},
		"too little":        {func(m *boursev1.Market) { m.Spec.BuyBack.MinPerEpochUSD = "10.01" }, boursev1.ReasonNothingToBurn, 0},
		"just enough":       {func(m *boursev1.Market) { m.Spec.BuyBack.MinPerEpochUSD = "10" }, boursev1.ReasonBuyingBack, theFees},
		"more than the cap": {func(m *boursev1.Market) { m.Spec.BuyBack.MaxPerEpochUSD = "2.5" }, boursev1.ReasonBuyingBack, 2_500_000},
		"its own token":     {func(m *boursev1.Market) { m.Spec.BuyBack.Token = "USDC" }, boursev1.ReasonNothingToBurn, 0},
	}
	l := newLab(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			market := l.market.DeepCopy()
			tc.change(market)
			l.change(market)
			r := l.replica()
			l.begin(r)
			burn, _, err := l.pass(r)
			l.must(err)
			if got := reason(burn); got != tc.want {
				t.Errorf("reason %s, want %s", got, tc.want)
			}
			back := burn.Status.BuyBack
			if (back != nil) != (tc.spend > 0) || back != nil && *back.Spend != tc.spend {
				t.Errorf("buy-back %+v, want one of %d", back, tc.spend)
			}
			if wrote := l.hub.Writes(func() { _, _, _ = l.pass(r) }); len(wrote) != 0 {
				t.Errorf("a second pass wrote %v", wrote)
			}
			l.must(l.hub.Delete(t.Context(), burn))
		})
	}
}

// change replaces the market in the hub.
func (l *lab) change(market *boursev1.Market) {
	l.t.Helper()
	found := &boursev1.Market{ObjectMeta: metav1.ObjectMeta{Name: market.Name}}
	l.hub.Read(found)
	found.Spec = market.Spec
	l.hub.Edit(found)
}

func TestTwoMarketsMayNotBuyBackTheSameFees(t *testing.T) {
	l := newLab(t)
	rival := l.market.DeepCopy()
	rival.Name, rival.ResourceVersion, rival.UID = "rival", "", "rival-uid"
	l.must(l.hub.Create(t.Context(), rival))
	r := l.replica()
	l.begin(r)
	burn, _, err := l.pass(r)
	l.must(err)
	if reason(burn) != boursev1.ReasonTwoMarkets || burn.Status.BuyBack != nil {
		t.Errorf("status %+v", burn.Status)
	}
}

func TestAMarketWakesWhatWaits(t *testing.T) {
	l := newLab(t)
	r := l.replica()
	l.begin(r)
	if got := r.waiting(t.Context(), l.market); len(got) != 1 || got[0].NamespacedName != theWait {
		t.Errorf("woken %v", got)
	}
	l.finish(r)
	if got := r.waiting(t.Context(), l.market); len(got) != 0 {
		t.Errorf("woken though it is over: %v", got)
	}
}
