// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/audit"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/escrowhistory"
)

// later is long after everything that the tests let happen.
var later = builders.Start.Add(24 * time.Hour)

// settlement is a record of the lease "train" written by hand: in IO with 0.25 % from each side, all of it burned.
func settlement(period int32, kind boursev1.SettlementKind, gross, supplier, burned, refunded int64, amount string) boursev1.Settlement {
	slot := int64(period) + 1 // the opening is in slot 1
	return boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "bourse-public", Name: fmt.Sprintf("train-0a1b2c3d-%04d", period)},
		Spec: boursev1.SettlementSpec{
			Lease: boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-0a1b2c3d"}, Job: boursev1.ObjectReference{Namespace: "team-a", Name: "train"},
			Kind: kind, Period: period, Token: "IO", Mint: builders.Address("mint of IO"),
			GrossTotal: new(gross), Debit: new(supplier + burned), SupplierPaid: new(supplier), TreasuryPaid: new(int64(0)), Burned: new(burned),
			Refunded: new(refunded), Amount: amount, Transaction: boursev1.SolanaSignature(chain.Signature{byte(slot)}.String()), Slot: new(slot),
			Time: metav1.NewTime(builders.Start.Add(time.Duration(slot) * time.Minute)),
		},
	}
}

// world is a lease of 8 GPUs that ran for 32 minutes and 26 seconds, was paid in two claims and refunded, and all of its records.
func world(t *testing.T) (*escrowhistory.History, audit.Records) {
	t.Helper()
	_, lease := builders.Leased(t, "train")
	on := escrowhistory.New(t, lease)
	on.Open()
	on.Claim(400_000_000)
	on.Claim(800_000_000)
	on.Close()
	lease.Status.Paid, lease.Status.Promised = new(int64(800_000_000)), new(int64(800_000_000))
	lease.Status.Usage = &boursev1.LeaseUsage{GPUMilliseconds: new(int64(15_567_568)), Gross: new(int64(800_000_022))}
	return on, audit.Records{
		Leases: []boursev1.GPULease{*lease},
		Settlements: []boursev1.Settlement{
			settlement(2, boursev1.SettlementClaim, 800_000_000, 399_000_000, 2_000_000, 0, "4.01 IO"),
			settlement(3, boursev1.SettlementRefund, 800_000_000, 0, 0, 681_700_000, "6.817 IO"),
			settlement(1, boursev1.SettlementClaim, 400_000_000, 399_000_000, 2_000_000, 0, "4.01 IO"),
		},
		FeeBurns: []boursev1.FeeBurn{burn()},
	}
}

func burn() boursev1.FeeBurn {
	return boursev1.FeeBurn{
		ObjectMeta: metav1.ObjectMeta{Namespace: "bourse-public", Name: "io-2027-03-01"},
		Spec: boursev1.FeeBurnSpec{
			Token: "IO", Mint: builders.Address("mint of IO"),
			From: metav1.NewTime(builders.Start.Truncate(24 * time.Hour)), To: metav1.NewTime(builders.Start.Truncate(24 * time.Hour).Add(24 * time.Hour)),
		},
		Status: boursev1.FeeBurnStatus{Claims: new(int32(2)), Burned: new(int64(4_000_000)), Amount: "0.04 IO"},
	}
}

func TestRecordsThatAgree(t *testing.T) {
	on, records := world(t)
	report, err := audit.Run(t.Context(), on, records, later)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.Print(&text); err != nil {
		t.Fatal(err)
	}
	want := `
LEASE                   DEPOSIT    SUPPLIER  TREASURY  BURNED   REFUNDED  ESCROW  RECORDS
oslo-dc/train-0a1b2c3d  14.837 IO  7.98 IO   0.00 IO   0.04 IO  6.817 IO  closed  3 agree

FEE BURN       CLAIMS  BURNED BY CLAIMS  FEES TO TREASURY  BOUGHT AND BURNED
io-2027-03-01  2       0.04 IO           0.00 IO           -
`
	if diff := cmp.Diff(want[1:], text.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if got := report.Summary(); got != "All agree with the chain: leases 1, settlements 3, fee burns 1." {
		t.Error(got)
	}
}

// mismatch runs the audit and returns what it found.
func mismatch(t *testing.T, on audit.Chain, records audit.Records) *audit.Mismatch {
	t.Helper()
	_, err := audit.Run(t.Context(), on, records, later)
	wrong, ok := errors.AsType[*audit.Mismatch](err)
	if !ok {
		t.Fatalf("err = %v, want a mismatch", err)
	}
	return wrong
}

// Whatever leaf of a settlement is changed, the audit names it.
func TestEveryFieldOfASettlementIsChecked(t *testing.T) {
	_, records := world(t)
	for i := range records.Settlements {
		for _, path := range leaves(t, records.Settlements[i].Spec) {
			t.Run(records.Settlements[i].Name+" "+strings.Join(path, "."), func(t *testing.T) {
				on, records := world(t)
				change(t, &records.Settlements[i].Spec, path)
				wrong := mismatch(t, on, records)
				field := "spec." + strings.Join(path, ".")
				if field == "spec.lease.name" || field == "spec.lease.namespace" {
					field = "spec.lease"
				}
				byOrder := field == "spec.period" // another period is another record's place
				if !byOrder && (wrong.Field != field || wrong.Object != "Settlement bourse-public/"+records.Settlements[i].Name) || wrong.Expected == wrong.Found {
					t.Errorf("got %+v", wrong)
				}
			})
		}
	}
}

// leaves are the paths of all values in an object.
func leaves(t *testing.T, of any) [][]string {
	t.Helper()
	var paths [][]string
	var walk func(path []string, value any)
	walk = func(path []string, value any) {
		tree, ok := value.(map[string]any)
		if !ok {
			paths = append(paths, path)
			return
		}
		for name, inner := range tree {
			walk(append(slices.Clip(path), name), inner)
		}
	}
	walk(nil, tree(t, of))
	return paths
}

func tree(t *testing.T, of any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// change makes the value at the path another one, in a copy.
func change[T any](t *testing.T, of *T, path []string) {
	t.Helper()
	whole := tree(t, of)
	inner := whole
	for _, name := range path[:len(path)-1] {
		inner = inner[name].(map[string]any)
	}
	last := path[len(path)-1]
	switch value := inner[last].(type) {
	case float64:
		inner[last] = value + 1
	case string:
		if at, err := time.Parse(time.RFC3339, value); err == nil {
			inner[last] = at.Add(time.Second).Format(time.RFC3339)
		} else {
			inner[last] = value + "x"
		}
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	var changed T
	if err := json.Unmarshal(raw, &changed); err != nil {
		t.Fatal(err)
	}
	*of = changed
}

func TestFirstMismatch(t *testing.T) {
	cases := map[string]struct {
		edit  func(*audit.Records)
		field string
		found string
	}{
		"a settlement is missing":            {func(r *audit.Records) { r.Settlements = r.Settlements[:2] }, "metadata.name", "bourse-public/train-0a1b2c3d-0002"},
		"the last settlement is missing":     {func(r *audit.Records) { r.Settlements = append(r.Settlements[:1:1], r.Settlements[2]) }, "spec.transaction", "not there at all"},
		"a settlement of nothing":            {func(r *audit.Records) { r.Settlements = append(r.Settlements, settlement(4, "Claim", 1, 1, 0, 0, "x")) }, "spec.transaction", "none"},
		"a settlement under another name":    {func(r *audit.Records) { r.Settlements[0].Name = "x" }, "metadata.name", "bourse-public/x"},
		"a lease that is not there":          {func(r *audit.Records) { r.Leases = nil }, "spec.lease", "oslo-dc/train-0a1b2c3d"},
		"a lease twice":                      {func(r *audit.Records) { r.Leases = append(r.Leases, r.Leases[0]) }, "metadata.name", "there twice"},
		"more is paid than the chain says":   {func(r *audit.Records) { r.Leases[0].Status.Paid = new(int64(800_000_001)) }, "status.paid", "800000001"},
		"usage at another price":             {func(r *audit.Records) { r.Leases[0].Status.Usage.Gross = new(int64(800_000_023)) }, "status.usage.gross", "800000023"},
		"more usage than the term":           {func(r *audit.Records) { r.Leases[0].Status.Usage.GPUMilliseconds = new(int64(28_800_001)) }, "status.usage.gpuMilliseconds", "28800001"},
		"less usage than was claimed":        {lessUsage, "status.usage.gross", "799999970"},
		"no usage at all":                    {func(r *audit.Records) { r.Leases[0].Status.Usage = nil }, "status.usage", "missing"},
		"more promised than used":            {func(r *audit.Records) { r.Leases[0].Status.Promised = new(int64(900_000_000)) }, "status.promised", "900000000"},
		"another price":                      {func(r *audit.Records) { r.Leases[0].Spec.Payment.PricePerGPUHour++ }, "status.usage.gross", "800000022"},
		"another fee":                        {func(r *audit.Records) { *r.Leases[0].Spec.Payment.BuyerFeeBps++ }, "spec.escrow", "one that did not"},
		"another deposit":                    {func(r *audit.Records) { r.Leases[0].Spec.Payment.Deposit++ }, "spec.escrow", "one that did not"},
		"another escrow":                     {func(r *audit.Records) { r.Leases[0].Spec.Escrow.Address = "x" }, "spec.escrow.address", "x"},
		"unreadable terms":                   {func(r *audit.Records) { r.Leases[0].Spec.Payment.Treasury = "x" }, "spec", "ones that are not"},
		"another sum of burns":               {func(r *audit.Records) { *r.FeeBurns[0].Status.Burned++ }, "status.burned", "4000001"},
		"another number of claims":           {func(r *audit.Records) { *r.FeeBurns[0].Status.Claims++ }, "status.claims", "3"},
		"no sum of burns":                    {func(r *audit.Records) { r.FeeBurns[0].Status.Burned = nil }, "status.burned", "missing"},
		"another text of burns":              {func(r *audit.Records) { r.FeeBurns[0].Status.Amount = "0.05 IO" }, "status.amount", "0.05 IO"},
		"fees that were not paid":            {func(r *audit.Records) { r.FeeBurns[0].Status.Fees = new(int64(1)) }, "status.fees", "1"},
		"no record of the burns":             {func(r *audit.Records) { r.FeeBurns = nil }, "status.burned", "not there at all"},
		"a record of another day":            {func(r *audit.Records) { r.FeeBurns[0].Spec.From = r.FeeBurns[0].Spec.To }, "status.burned", "4000000"},
		"two records of one day":             {func(r *audit.Records) { r.FeeBurns = append(r.FeeBurns, burn()); r.FeeBurns[1].Name = "x" }, "spec.from", "within FeeBurn bourse-public/x"},
		"a burn of a token that never moved": {func(r *audit.Records) { r.FeeBurns[0].Spec.Mint = builders.Address("mint of USDC") }, "status.burned", "4000000"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			on, records := world(t)
			tc.edit(&records)
			wrong := mismatch(t, on, records)
			if wrong.Field != tc.field || !strings.HasPrefix(wrong.Found, tc.found) {
				t.Errorf("got %+v, want %s = %s", wrong, tc.field, tc.found)
			}
		})
	}
}

func lessUsage(r *audit.Records) {
	r.Leases[0].Status.Usage.GPUMilliseconds, r.Leases[0].Status.Usage.Gross = new(int64(15_567_567)), new(int64(799_999_970))
}

func TestAFreshMovementMayLackItsRecord(t *testing.T) {
	on, records := world(t)
	records.Settlements = append(records.Settlements[:1:1], records.Settlements[2])
	closed := builders.Start.Add(4 * time.Minute)
	report, err := audit.Run(t.Context(), on, records, closed.Add(audit.Grace-time.Second))
	if err != nil || report.Leases[0].Waiting != 1 || report.Leases[0].Settlements != 2 {
		t.Errorf("within the grace: %+v, %v", report, err)
	}
	records.FeeBurns[0].Status = boursev1.FeeBurnStatus{Claims: new(int32(1)), Burned: new(int64(2_000_000)), Amount: "0.02 IO"}
	if _, err := audit.Run(t.Context(), on, records, closed.Add(time.Second)); err != nil {
		t.Errorf("a burn that counts one of two fresh claims: %v", err)
	}
	if _, err := audit.Run(t.Context(), on, records, closed.Add(audit.Grace-time.Second)); err == nil {
		t.Error("a burn that lacks an old claim agreed")
	}
}

// What the chain did must follow the terms, whatever the records say.
func TestAChainThatDidNotFollowTheTerms(t *testing.T) {
	on, records := world(t)
	calls := on.Landed[1].Calls
	calls[len(calls)-1].Data[1]++ // one base unit more is burned
	wrong := mismatch(t, on, records)
	if wrong.Field != "spec.escrow" || !strings.Contains(wrong.Error(), "GPULease oslo-dc/train-0a1b2c3d: spec.escrow") {
		t.Errorf("got %v", wrong)
	}
}

func TestWhatCannotBeReadSaysNothingOfTheRecords(t *testing.T) {
	on, records := world(t)
	on.Err = errors.New("connection broke")
	_, err := audit.Run(t.Context(), on, records, later)
	if _, wrong := errors.AsType[*audit.Mismatch](err); wrong || !errors.Is(err, on.Err) {
		t.Errorf("err = %v, want %v", err, on.Err)
	}
}

func TestEveryKindOfMovement(t *testing.T) {
	_, lease := builders.Leased(t, "train")
	on := escrowhistory.New(t, lease)
	deadline := lease.Spec.Escrow.Deadline.Add(time.Hour)
	on.Open()
	on.TopUp(100_000_000)
	on.Extend(deadline)
	on.Dispute(100_000_000)
	on.Award(100_000_000)
	on.Close()
	records := audit.Records{
		Leases: []boursev1.GPULease{*lease},
		Settlements: []boursev1.Settlement{
			settlement(1, boursev1.SettlementTopUp, 0, 0, 0, 0, "1.00 IO"), settlement(2, boursev1.SettlementExtension, 0, 0, 0, 0, "0.00 IO"),
			settlement(3, boursev1.SettlementDispute, 0, 0, 0, 0, "1.00 IO"), settlement(4, boursev1.SettlementAward, 100_000_000, 99_750_000, 500_000, 0, "1.0025 IO"),
			settlement(5, boursev1.SettlementRefund, 100_000_000, 0, 0, 1_483_450_000, "14.8345 IO"),
		},
		FeeBurns: []boursev1.FeeBurn{burn()},
	}
	records.Settlements[0].Spec.Deposited = new(int64(100_000_000))
	records.Settlements[1].Spec.Deadline = new(metav1.NewTime(deadline))
	records.Settlements[2].Spec.Disputed = new(int64(100_000_000))
	records.FeeBurns[0].Status = boursev1.FeeBurnStatus{Claims: new(int32(1)), Burned: new(int64(500_000)), Amount: "0.005 IO"}
	report, err := audit.Run(t.Context(), on, records, later)
	if err != nil || report.Leases[0].Settlements != 5 {
		t.Errorf("%+v, %v", report, err)
	}
	for i, field := range []string{"deposited", "deadline", "disputed"} {
		changed := records
		changed.Settlements = append([]boursev1.Settlement(nil), records.Settlements...)
		change(t, &changed.Settlements[i].Spec, []string{field})
		if wrong := mismatch(t, on, changed); wrong.Field != "spec."+field {
			t.Errorf("got %+v, want %s", wrong, field)
		}
	}
}

func TestAnEscrowThatWasNeverOpened(t *testing.T) {
	_, lease := builders.Leased(t, "train")
	report, err := audit.Run(t.Context(), escrowhistory.New(t, lease), audit.Records{Leases: []boursev1.GPULease{*lease}}, later)
	if err != nil || report.Leases[0].Opened || report.Leases[0].Deposit != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
