// SPDX-License-Identifier: Apache-2.0

package settlement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

// How often an open escrow is read. Anybody may submit a claim, so no status announces every one of them.
const (
	readEvery  = time.Minute
	behindBy   = 5 * time.Second // while the lease says more than is recorded
	forgetting = time.Hour       // after the deadline of an escrow that was never opened
)

var (
	errNoTime = errors.New("the node does not know the block's time")
	errKind   = errors.New("a kind of movement that is not recorded")
	errOther  = errors.New("a settlement of this name records something else")
)

// funded says whether the lease came so far that its escrow may have been opened.
func funded(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.LeaseAccepted) || kube.IsTrue(lease, boursev1.LeaseFunded) || lease.Status.Paid != nil
}

// record writes a Settlement for everything that happened to the escrow after it was opened, numbered in the order of the chain.
func (r *Reconciler) record(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	known, err := r.known(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	movements, err := r.unread(ctx, lease, known)
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, movement := range movements {
		if movement.Kind == escrow.KindOpen {
			continue
		}
		settlement, err := draft(lease, movement, len(known)+1)
		if err != nil {
			return reconcile.Result{}, err
		}
		if settlement, err = r.write(ctx, settlement); err != nil {
			return reconcile.Result{}, err
		}
		known = append(known, *settlement)
	}
	return r.confirmAll(ctx, lease, known)
}

// unread returns what happened to the escrow since the newest record.
func (r *Reconciler) unread(ctx context.Context, lease *boursev1.GPULease, known []boursev1.Settlement) ([]escrow.Movement, error) {
	if closed(known) {
		return nil, nil
	}
	before, err := past(known)
	if err != nil {
		return nil, err
	}
	terms, err := contract.Escrow(lease)
	if err != nil {
		return nil, err
	}
	movements, err := escrow.ReadMovements(ctx, r.Chain, terms, before...)
	if err != nil {
		return nil, fmt.Errorf("read escrow: %w", err)
	}
	return movements, nil
}

// confirmAll says on each settlement that its transaction is final: it was read from the finalized chain. One that the cache shows
// from before it was confirmed is looked at again.
func (r *Reconciler) confirmAll(ctx context.Context, lease *boursev1.GPULease, known []boursev1.Settlement) (reconcile.Result, error) {
	for i := range known {
		before := known[i].DeepCopy()
		kube.True(&known[i], boursev1.Succeeded, boursev1.ReasonFinalized, "The transaction is finalized on chain")
		confirmed := kube.IsTrue(before, boursev1.Succeeded)
		if !confirmed {
			crashpoint.Hit("settlement.confirming")
		}
		err := r.Teller.Write(ctx, before, &known[i])
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: behindBy}, nil
		}
		if err != nil {
			return reconcile.Result{}, err
		}
		if !confirmed {
			crashpoint.Hit("settlement.confirmed")
		}
	}
	return reconcile.Result{RequeueAfter: r.again(lease, known)}, nil
}

// known returns the lease's settlements in order, without gaps: a cache that lags behind only makes the rest be read again.
func (r *Reconciler) known(ctx context.Context, lease *boursev1.GPULease) ([]boursev1.Settlement, error) {
	var list boursev1.SettlementList
	if err := r.Hub.List(ctx, &list, client.InNamespace(boursev1.PublicNamespace),
		client.MatchingFields{byLease: lease.Namespace + "/" + lease.Name}); err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b boursev1.Settlement) int { return cmp.Compare(a.Spec.Period, b.Spec.Period) })
	for i := range list.Items {
		if int(list.Items[i].Spec.Period) != i+1 {
			return list.Items[:i], nil
		}
	}
	return list.Items, nil
}

func closed(known []boursev1.Settlement) bool {
	return len(known) > 0 && known[len(known)-1].Spec.Kind == boursev1.SettlementRefund
}

// kinds are the movements that are recorded, and what their records are called.
func kinds() map[escrow.Kind]boursev1.SettlementKind {
	return map[escrow.Kind]boursev1.SettlementKind{
		escrow.KindClaim:   boursev1.SettlementClaim,
		escrow.KindClose:   boursev1.SettlementRefund,
		escrow.KindTopUp:   boursev1.SettlementTopUp,
		escrow.KindExtend:  boursev1.SettlementExtension,
		escrow.KindDispute: boursev1.SettlementDispute,
		escrow.KindAward:   boursev1.SettlementAward,
	}
}

// past is what was recorded already, as movements.
func past(known []boursev1.Settlement) ([]escrow.Movement, error) {
	named := map[boursev1.SettlementKind]escrow.Kind{}
	for movement, record := range kinds() {
		named[record] = movement
	}
	movements := make([]escrow.Movement, len(known))
	for i := range known {
		spec := &known[i].Spec
		signature, err := chain.ParseSignature(string(spec.Transaction))
		if err != nil {
			return nil, fmt.Errorf("read settlement: %w", err)
		}
		movements[i] = escrow.Movement{
			Kind: named[spec.Kind], Signature: signature,
			Gross: amount(spec.GrossTotal), Deposit: amount(spec.Deposited), Disputed: amount(spec.Disputed),
		}
		if spec.Deadline != nil {
			movements[i].Deadline = spec.Deadline.Time
		}
	}
	return movements, nil
}

// amount reads what the API server keeps from being negative.
func amount(units *int64) money.Amount {
	if units == nil || *units < 0 {
		return 0
	}
	return money.Amount(*units)
}

// draft is the record of one movement.
func draft(lease *boursev1.GPULease, movement escrow.Movement, period int) (*boursev1.Settlement, error) {
	if movement.Time.IsZero() {
		return nil, fmt.Errorf("record slot %d: %w", movement.Slot, errNoTime)
	}
	token, err := contract.Token(&lease.Spec.Payment)
	if err != nil {
		return nil, err
	}
	debit, err := money.Sum(movement.Supplier, movement.Treasury, movement.Burn)
	if err != nil {
		return nil, err
	}
	kind, known := kinds()[movement.Kind]
	if !known {
		return nil, fmt.Errorf("record movement: %w: %s", errKind, movement.Kind)
	}
	for _, amount := range []money.Amount{
		movement.Gross, debit, movement.Refund, movement.Deposit, movement.Disputed, money.Amount(movement.Slot),
	} {
		if amount > math.MaxInt64 {
			return nil, fmt.Errorf("record movement: %w", money.ErrOverflow)
		}
	}
	//nolint:gosec // every amount is checked above, and the parts of the debit are no larger than it; nobody claims 2^31 times
	settlement := &boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: fmt.Sprintf("%s-%04d", lease.Name, period)},
		Spec: boursev1.SettlementSpec{
			Lease:        boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Job:          boursev1.ObjectReference{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name},
			Kind:         kind,
			Period:       int32(period),
			Token:        lease.Spec.Payment.Token,
			Mint:         lease.Spec.Payment.Mint,
			GrossTotal:   new(int64(movement.Gross)),
			Debit:        new(int64(debit)),
			SupplierPaid: new(int64(movement.Supplier)),
			TreasuryPaid: new(int64(movement.Treasury)),
			Burned:       new(int64(movement.Burn)),
			Refunded:     new(int64(movement.Refund)),
			Amount:       token.Format(shown(movement, debit)),
			Transaction:  boursev1.SolanaSignature(movement.Signature.String()),
			Slot:         new(int64(movement.Slot)),
			Time:         metav1.NewTime(movement.Time.UTC()),
		},
	}
	addDetail(&settlement.Spec, movement)
	return settlement, nil
}

// addDetail fills in what only some kinds have. The amounts fit: draft looked at them.
func addDetail(spec *boursev1.SettlementSpec, movement escrow.Movement) {
	switch movement.Kind {
	case escrow.KindTopUp:
		spec.Deposited = new(int64(movement.Deposit)) //nolint:gosec // as said
	case escrow.KindDispute:
		spec.Disputed = new(int64(movement.Disputed)) //nolint:gosec // as said
	case escrow.KindExtend:
		spec.Deadline = new(metav1.NewTime(movement.Deadline))
	default:
	}
}

// shown is the amount that a person wants to see of a movement.
func shown(movement escrow.Movement, debit money.Amount) money.Amount {
	switch movement.Kind {
	case escrow.KindClose:
		return movement.Refund
	case escrow.KindTopUp:
		return movement.Deposit
	case escrow.KindDispute:
		return movement.Disputed
	default:
		return debit
	}
}

// write creates the settlement. One that is there already must say the same.
func (r *Reconciler) write(ctx context.Context, settlement *boursev1.Settlement) (*boursev1.Settlement, error) {
	crashpoint.Hit("settlement.creating")
	err := r.Hub.Create(ctx, settlement)
	if err == nil {
		crashpoint.Hit("settlement.created")
		return settlement, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create settlement: %w", err)
	}
	var found boursev1.Settlement
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(settlement), &found); err != nil {
		return nil, fmt.Errorf("get settlement: %w", err)
	}
	if !apiequality.Semantic.DeepEqual(found.Spec, settlement.Spec) {
		return nil, fmt.Errorf("%w: %s", errOther, found.Name)
	}
	return &found, nil
}

// again says when to read the escrow again; zero when nothing can come any more.
func (r *Reconciler) again(lease *boursev1.GPULease, known []boursev1.Settlement) time.Duration {
	if closed(known) {
		return 0
	}
	if len(known) == 0 && lease.Status.End != nil && r.Now().After(lease.Spec.Escrow.Deadline.Add(forgetting)) {
		return 0
	}
	if behind(lease, known) {
		return behindBy
	}
	return readEvery
}

// behind says whether the lease tells of money that is not recorded yet.
func behind(lease *boursev1.GPULease, known []boursev1.Settlement) bool {
	settled := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseSettled)
	if settled != nil && settled.Reason == boursev1.ReasonClosed {
		return true
	}
	if lease.Status.Paid == nil {
		return false
	}
	return len(known) == 0 && *lease.Status.Paid > 0 || len(known) > 0 && *lease.Status.Paid > *known[len(known)-1].Spec.GrossTotal
}
