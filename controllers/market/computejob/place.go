// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// errChanged says that the choice cannot be kept: what it was made on has changed since.
var errChanged = errors.New("what the choice was made on has changed")

// place writes the lease that was chosen, and then what it runs. Their name is written down already, so both are made once whatever happens
// in between: a lease that lacks its program is waited with, and the next pass adds it.
func (r *Reconciler) place(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if job.Status.Lease == nil || kube.IsTrue(job, boursev1.JobMatched) {
		return reconcile.Result{}, nil
	}
	var lease boursev1.GPULease
	err := r.Live.Get(ctx, keyOf(job.Status.Lease), &lease)
	switch {
	case apierrors.IsNotFound(err):
		err = r.write(ctx, job, &lease)
	case err == nil && lease.Spec.Job.UID != string(job.UID):
		err = fmt.Errorf("%w: the name %s is taken", errChanged, lease.Name)
	}
	if err == nil {
		err = r.handOver(ctx, job, &lease)
	}
	switch {
	case errors.Is(err, errChanged):
		r.unpromise(job)
		forget(job, "The offer changed before its lease was written")
		return reconcile.Result{RequeueAfter: journalled}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("place job: %w", err)
	}
	kube.True(job, boursev1.JobMatched, boursev1.ReasonOfferFound, why(job))
	return reconcile.Result{}, nil
}

// write makes the lease.
func (r *Reconciler) write(ctx context.Context, job *boursev1.ComputeJob, lease *boursev1.GPULease) error {
	drafted, err := r.draft(ctx, job)
	if err != nil {
		return err
	}
	*lease = *drafted
	if err := r.Hub.Create(ctx, lease); err != nil {
		return fmt.Errorf("create lease: %w", err)
	}
	logMatch(ctx, job)
	return nil
}

// handOver gives the supplier what the lease runs. It belongs to the lease, so it goes with it.
func (r *Reconciler) handOver(ctx context.Context, job *boursev1.ComputeJob, lease *boursev1.GPULease) error {
	owner := metav1.OwnerReference{
		APIVersion: boursev1.GroupVersion.String(), Kind: "GPULease", Name: lease.Name, UID: lease.UID,
	}
	program := &boursev1.LeaseProgram{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: lease.Namespace, Name: lease.Name, OwnerReferences: []metav1.OwnerReference{owner},
			Labels: map[string]string{boursev1.LabelJobUID: label(string(job.UID))},
		},
		Spec: boursev1.LeaseProgramSpec{Salt: job.Status.ProgramSalt, Ray: *job.Spec.Ray.DeepCopy()},
	}
	err := r.Hub.Create(ctx, program)
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return fmt.Errorf("create program: %w", err)
		}
		return nil
	}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(program), program); err != nil {
		return fmt.Errorf("get program: %w", err)
	}
	if !slices.Contains(program.OwnerReferences, owner) { // it goes with the lease that had the name before
		return fmt.Errorf("create program: the name %s is still taken", program.Name)
	}
	return nil
}

// draft is the contract between the job and its chosen offer, under the market's rules as they are now.
func (r *Reconciler) draft(ctx context.Context, job *boursev1.ComputeJob) (*boursev1.GPULease, error) {
	offer, err := r.chosenOffer(ctx, job)
	if err != nil {
		return nil, err
	}
	market, err := r.market(ctx)
	if err != nil {
		return nil, err
	}
	if market == nil {
		return nil, fmt.Errorf("%w: no market is ready", errChanged)
	}
	buyer, err := r.member(ctx, job.Namespace)
	if err != nil {
		return nil, err
	}
	supplier, err := r.member(ctx, offer.Namespace)
	if err != nil {
		return nil, err
	}
	if buyer == nil || supplier == nil {
		return nil, fmt.Errorf("%w: a member is not admitted any more", errChanged)
	}
	payment, err := paymentOf(job, market)
	if err != nil {
		return nil, err
	}
	lease := r.blank(job, offer, market)
	lease.Spec.Buyer, lease.Spec.Supplier = buyer.Spec.Wallet, supplier.Spec.Wallet
	lease.Spec.Payment = payment
	return lease, r.addEscrow(lease, market)
}

// chosenOffer returns the offer that the job chose, as long as it is what was chosen.
func (r *Reconciler) chosenOffer(ctx context.Context, job *boursev1.ComputeJob) (*boursev1.GPUOffer, error) {
	var offer boursev1.GPUOffer
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: job.Status.Lease.Namespace, Name: job.Status.Offer}, &offer)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: the offer is gone", errChanged)
	}
	if err != nil {
		return nil, fmt.Errorf("get offer: %w", err)
	}
	if !counts(&offer, r.Now()) || offer.Spec.PriceUSD != job.Status.PriceUSD || offer.Spec.Model != job.Status.Model {
		return nil, fmt.Errorf("%w: the offer is another", errChanged)
	}
	entry, err := r.listed(ctx, &offer)
	if err != nil {
		return nil, err
	}
	wanted, err := r.demand(ctx, job, "")
	if err != nil {
		return nil, err
	}
	if !book.Fits(&wanted, &entry) {
		return nil, fmt.Errorf("%w: the offer does not fit the job any more", errChanged)
	}
	return &offer, nil
}

// paymentOf prices the lease; a price that the job's budget does not cover any more is errChanged.
func paymentOf(job *boursev1.ComputeJob, market *boursev1.Market) (boursev1.LeasePayment, error) {
	token := listing.Token(market, job.Spec.Bid.Token)
	if token == nil {
		return boursev1.LeasePayment{}, fmt.Errorf("%w: the market does not take %s any more", errChanged, job.Spec.Bid.Token)
	}
	q, err := listing.QuoteFor(job, market, token, job.Status.PriceUSD)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	if q.Deposit > q.Budget {
		return boursev1.LeasePayment{}, fmt.Errorf("%w: the budget does not cover the deposit any more", errChanged)
	}
	perHour, err := contract.Signed(q.PerHour)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	deposit, err := contract.Signed(q.Deposit)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	config, err := contract.Config(market)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	payment := boursev1.LeasePayment{
		Market:           market.Name,
		MarketGeneration: market.Generation,
		Token:            token.Symbol,
		Mint:             token.Mint,
		Decimals:         new(int32(q.Token.Decimals)),
		PriceUSD:         job.Status.PriceUSD,
		PricePerGPUHour:  perHour,
		BuyerFeeBps:      new(int32(q.Fees.BuyerBps)),
		SupplierFeeBps:   new(int32(q.Fees.SupplierBps)),
		BurnBps:          new(int32(q.Fees.BurnBps)),
		Treasury:         market.Spec.Treasury,
		Config:           boursev1.SolanaAddress(config.String()),
		Deposit:          deposit,
	}
	if judged := market.Spec.Arbitration; judged != nil {
		payment.Arbiter, payment.ArbiterCapBps, payment.DisputeDelaySeconds = judged.Arbiter, judged.CapBps, judged.DelaySeconds
	}
	return payment, nil
}

// blank is the lease without its parties, payment and escrow.
func (r *Reconciler) blank(job *boursev1.ComputeJob, offer *boursev1.GPUOffer, market *boursev1.Market) *boursev1.GPULease {
	return &boursev1.GPULease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: job.Status.Lease.Namespace,
			Name:      job.Status.Lease.Name,
			Labels: map[string]string{
				boursev1.LabelJobUID:       label(string(job.UID)),
				boursev1.LabelJobName:      label(job.Name),
				boursev1.LabelJobNamespace: label(job.Namespace),
			},
		},
		Spec: boursev1.GPULeaseSpec{
			Job:       boursev1.JobReference{Namespace: job.Namespace, Name: job.Name, UID: string(job.UID)},
			Offer:     offer.Name,
			Pool:      offer.Spec.Pool,
			Model:     offer.Spec.Model,
			Workers:   job.Spec.GPUs.Workers,
			PerWorker: job.Spec.GPUs.PerWorker,
			Terms: boursev1.LeaseTerms{
				Tier:            job.Spec.Placement.Tier,
				Isolation:       offer.Spec.Terms.Isolation,
				Egress:          job.Spec.Placement.Egress,
				DurationSeconds: job.Spec.DurationSeconds,
				NoticeSeconds:   offer.Spec.Terms.NoticeSeconds,
				PeriodSeconds:   market.Spec.Settlement.PeriodSeconds,
				UnpaidPeriods:   market.Spec.Settlement.UnpaidPeriods,
			},
			ProgramSHA256: contract.ProgramDigest(job.Status.ProgramSalt, &job.Spec.Ray),
			Ends:          contract.Ending(&job.Spec.Ray),
			AcceptBy:      metav1.NewTime(r.Now().Add(listing.AcceptWithin).UTC().Truncate(time.Second)),
			State:         boursev1.LeaseActive,
		},
	}
}

// addEscrow says where on chain the lease's deposit goes, and until when it may be claimed.
func (r *Reconciler) addEscrow(lease *boursev1.GPULease, market *boursev1.Market) error {
	id := escrow.LeaseID(string(market.UID), lease.Namespace, lease.Name, lease.Spec.Job.UID)
	open := listing.StartAllowance + time.Duration(lease.Spec.Terms.DurationSeconds)*time.Second +
		time.Duration(market.Spec.Settlement.GraceSeconds)*time.Second
	lease.Spec.Escrow = boursev1.LeaseEscrow{
		ProgramID: market.Spec.ProgramID,
		ID:        hex.EncodeToString(id[:]),
		Deadline:  metav1.NewTime(r.Now().Add(open).UTC().Truncate(time.Second)),
	}
	terms, err := contract.Escrow(lease)
	if err != nil {
		return err
	}
	address, err := terms.Address()
	if err != nil {
		return err
	}
	lease.Spec.Escrow.Address = boursev1.SolanaAddress(address.String())
	return nil
}

// label cuts a text to what a label's value may hold.
func label(text string) string {
	const most = 63
	return strings.Trim(text[:min(len(text), most)], "-._")
}
