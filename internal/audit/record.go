// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// expected is the record that a movement must have.
func expected(lease *boursev1.GPULease, token money.Token, movement escrow.Movement, period int) (*boursev1.Settlement, error) {
	debit, err := money.Sum(movement.Supplier, movement.Treasury, movement.Burn)
	if err != nil {
		return nil, fmt.Errorf("sum movement: %w", err)
	}
	for _, amount := range []money.Amount{debit, movement.Gross, movement.Refund, movement.Deposit, movement.Disputed, money.Amount(movement.Slot)} {
		if amount > math.MaxInt64 {
			return nil, fmt.Errorf("derive record of %s: %w", movement.Signature, money.ErrOverflow)
		}
	}
	field := func(amount money.Amount) *int64 { return new(int64(amount)) } //nolint:gosec // checked above
	want := &boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: fmt.Sprintf("%s-%04d", lease.Name, period)},
		Spec: boursev1.SettlementSpec{
			Lease:  boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Job:    boursev1.ObjectReference{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name},
			Period: int32(period), //nolint:gosec // nobody moves money 2^31 times
			Token:  lease.Spec.Payment.Token, Mint: lease.Spec.Payment.Mint,
			GrossTotal: field(movement.Gross), Debit: field(debit), SupplierPaid: field(movement.Supplier),
			TreasuryPaid: field(movement.Treasury), Burned: field(movement.Burn), Refunded: field(movement.Refund),
			Transaction: boursev1.SolanaSignature(movement.Signature.String()), Slot: field(money.Amount(movement.Slot)),
			Time: metav1.NewTime(movement.Time.UTC()),
		},
	}
	shown := debit
	switch movement.Kind {
	case escrow.KindClaim, escrow.KindOpen:
		want.Spec.Kind = boursev1.SettlementClaim
	case escrow.KindAward:
		want.Spec.Kind = boursev1.SettlementAward
	case escrow.KindClose:
		want.Spec.Kind, shown = boursev1.SettlementRefund, movement.Refund
	case escrow.KindTopUp:
		want.Spec.Kind, want.Spec.Deposited, shown = boursev1.SettlementTopUp, field(movement.Deposit), movement.Deposit
	case escrow.KindDispute:
		want.Spec.Kind, want.Spec.Disputed, shown = boursev1.SettlementDispute, field(movement.Disputed), movement.Disputed
	case escrow.KindExtend:
		want.Spec.Kind, want.Spec.Deadline, shown = boursev1.SettlementExtension, new(metav1.NewTime(movement.Deadline.UTC())), 0
	case escrow.KindVoucher, escrow.KindCreateConfig, escrow.KindProposeConfig, escrow.KindApplyConfig: // no movements of a lease
	}
	want.Spec.Amount = token.Format(shown)
	return want, nil
}

// differ returns the first field in which a record is not what it must be.
func differ(want, found *boursev1.Settlement) error {
	if want.Namespace != found.Namespace || want.Name != found.Name {
		return &Mismatch{named(found), "metadata.name", want.Namespace + "/" + want.Name, found.Namespace + "/" + found.Name}
	}
	wanted, err := fields(want.Spec)
	if err != nil {
		return err
	}
	got, err := fields(found.Spec)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		if got[path] != wanted[path] {
			return &Mismatch{named(found), "spec." + path, wanted[path], orMissing(got[path])}
		}
		delete(got, path)
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		return &Mismatch{named(found), "spec." + path, "missing", got[path]}
	}
	return nil
}

func orMissing(text string) string {
	if text == "" {
		return "missing"
	}
	return text
}

// fields are an object's leaves by their paths, as JSON.
func fields(of any) (map[string]string, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decode record: %w", err)
	}
	leaves := map[string]string{}
	flatten(leaves, "", tree)
	return leaves, nil
}

func flatten(into map[string]string, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			flatten(into, join(path, name), inner)
		}
	case []any:
		for i, inner := range value {
			flatten(into, join(path, strconv.Itoa(i)), inner)
		}
	default:
		into[path] = fmt.Sprint(value)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
