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
	"github.com/bourse-dev/bourse/internal/money"
)

// errChanged says that the choice cannot be kept: what it was made on has changed since.
var errChanged = errors.New("what the choice was made on has changed")

// place writes the leases that were chosen, and then what they run. Their names are written down already, so each is made once whatever
// happens in between: a lease that lacks its program is waited with, and the next pass adds it.
func (r *Reconciler) place(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if job.Status.Lease == nil || kube.IsTrue(job, boursev1.JobMatched) {
		return reconcile.Result{}, nil
	}
	err := r.write(ctx, job)
	switch {
	case errors.Is(err, errChanged):
		return r.giveUp(ctx, job, "The offer changed before its lease was written")
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("place job: %w", err)
	}
	kube.True(job, boursev1.JobMatched, boursev1.ReasonOfferFound, why(job))
	return reconcile.Result{}, nil
}

// giveUp ends the leases of an attempt of which not every part comes about, and then has the job matched again. A lease that could not be
// ended now is ended in the next pass: until then the job keeps its names.
func (r *Reconciler) giveUp(ctx context.Context, job *boursev1.ComputeJob, message string) (reconcile.Result, error) {
	done, err := r.endParts(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if done {
		r.unpromise(job)
		forget(job, message)
	}
	return reconcile.Result{RequeueAfter: journalled}, nil
}

// endParts ends those of the job's leases that are open, and says whether none is any more.
func (r *Reconciler) endParts(ctx context.Context, job *boursev1.ComputeJob) (done bool, err error) {
	done = true
	for _, part := range listing.Parts(job) {
		lease, err := r.lease(ctx, &part.Lease)
		if err != nil {
			return false, err
		}
		if lease == nil || lease.Spec.Job.UID != string(job.UID) || !listing.Open(lease) {
			continue
		}
		ended, err := r.end(ctx, lease, boursev1.EndPartEnded)
		if err != nil {
			return false, err
		}
		done = done && ended
	}
	return done, nil
}

// write makes the leases that are not there yet, once all of them can be made, and what each runs.
func (r *Reconciler) write(ctx context.Context, job *boursev1.ComputeJob) error {
	leases := make([]*boursev1.GPULease, len(listing.Parts(job)))
	for i := range leases {
		var err error
		if leases[i], err = r.agreed(ctx, job, i); err != nil {
			return err
		}
	}
	for i, lease := range leases {
		if lease.ResourceVersion == "" { // it is not known to be made
			var err error
			if lease, err = r.make(ctx, job, i, lease); err != nil {
				return err
			}
		}
		if err := r.handOver(ctx, job, lease); err != nil {
			return err
		}
	}
	return nil
}

// agreed is what a part's lease would be now. One that could not be made any more may have been made before.
func (r *Reconciler) agreed(ctx context.Context, job *boursev1.ComputeJob, at int) (*boursev1.GPULease, error) {
	lease, err := r.draft(ctx, job, at)
	if !errors.Is(err, errChanged) {
		return lease, err
	}
	made, unread := r.written(ctx, job, at)
	if made == nil && unread == nil {
		return nil, err
	}
	return made, unread
}

// make makes a part's lease, and returns it. Its name was written down before, so that one that is there already is the one.
func (r *Reconciler) make(ctx context.Context, job *boursev1.ComputeJob, at int, lease *boursev1.GPULease) (*boursev1.GPULease, error) {
	err := r.Hub.Create(ctx, lease)
	switch {
	case apierrors.IsAlreadyExists(err):
		made, unread := r.written(ctx, job, at)
		if made == nil && unread == nil {
			return nil, fmt.Errorf("create lease: %w", err)
		}
		return made, unread
	case err != nil:
		return nil, fmt.Errorf("create lease: %w", err)
	}
	logMatch(ctx, lease)
	return lease, nil
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

// written returns a part's lease, or nil if it is not made yet. With one that is over already, the others need not be made.
func (r *Reconciler) written(ctx context.Context, job *boursev1.ComputeJob, at int) (*boursev1.GPULease, error) {
	parts := listing.Parts(job)
	var lease boursev1.GPULease
	err := r.Live.Get(ctx, keyOf(&parts[at].Lease), &lease)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absence is an answer here
	case err != nil:
		return nil, fmt.Errorf("get lease: %w", err)
	case lease.Spec.Job.UID != string(job.UID):
		return nil, fmt.Errorf("%w: the name %s is taken", errChanged, lease.Name)
	case len(parts) > 1 && !listing.Open(&lease):
		return nil, fmt.Errorf("%w: the lease %s is over", errChanged, lease.Name)
	}
	return &lease, nil
}

// draft is the contract between a part of the job and its chosen offer, under the market's rules as they are now.
func (r *Reconciler) draft(ctx context.Context, job *boursev1.ComputeJob, at int) (*boursev1.GPULease, error) {
	part := &listing.Parts(job)[at]
	offer, err := r.chosenOffer(ctx, job, part)
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
	payment, err := paymentOf(job, part, market)
	if err != nil {
		return nil, err
	}
	lease := r.blank(job, part, offer, market)
	if of := len(job.Status.Parts); of > 0 {
		lease.Spec.Part = &boursev1.LeasePart{Index: new(int32(at)), Of: int32(of)} //nolint:gosec // at most MaxParts
	}
	lease.Spec.Buyer, lease.Spec.Supplier = buyer.Spec.Wallet, supplier.Spec.Wallet
	lease.Spec.Payment = payment
	return lease, r.addEscrow(lease, market)
}

// chosenOffer returns the offer that was chosen for a part of the job, as long as it is what was chosen.
func (r *Reconciler) chosenOffer(ctx context.Context, job *boursev1.ComputeJob, part *boursev1.JobPart) (*boursev1.GPUOffer, error) {
	var offer boursev1.GPUOffer
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: part.Lease.Namespace, Name: part.Offer}, &offer)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: the offer is gone", errChanged)
	}
	if err != nil {
		return nil, fmt.Errorf("get offer: %w", err)
	}
	if !counts(&offer, r.Now()) || offer.Spec.PriceUSD != part.PriceUSD || offer.Spec.Model != job.Status.Model {
		return nil, fmt.Errorf("%w: the offer is another", errChanged)
	}
	entry, err := r.listed(ctx, &offer)
	if err != nil {
		return nil, err
	}
	wanted, err := r.demand(ctx, job, nil)
	if err != nil {
		return nil, err
	}
	wanted.Workers, wanted.Parts = int(part.Workers), 1
	if !book.Fits(&wanted, &entry) {
		return nil, fmt.Errorf("%w: the offer does not fit the job any more", errChanged)
	}
	return &offer, nil
}

// paymentOf prices the lease of a part; prices of which the job's budget does not cover the sum any more are errChanged.
func paymentOf(job *boursev1.ComputeJob, part *boursev1.JobPart, market *boursev1.Market) (boursev1.LeasePayment, error) {
	token := listing.Token(market, job.Spec.Bid.Token)
	if token == nil {
		return boursev1.LeasePayment{}, fmt.Errorf("%w: the market does not take %s any more", errChanged, job.Spec.Bid.Token)
	}
	q, err := listing.QuoteFor(job, part.Workers, market, token, part.PriceUSD)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	whole, err := depositOf(job, market, token)
	if err != nil {
		return boursev1.LeasePayment{}, err
	}
	if whole > q.Budget {
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
		PriceUSD:         part.PriceUSD,
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

// depositOf is what all parts of the job need in deposits.
func depositOf(job *boursev1.ComputeJob, market *boursev1.Market, token *boursev1.MarketToken) (money.Amount, error) {
	var whole money.Amount
	for _, part := range listing.Parts(job) {
		q, err := listing.QuoteFor(job, part.Workers, market, token, part.PriceUSD)
		if err != nil {
			return 0, err
		}
		if whole, err = whole.Add(q.Deposit); err != nil {
			return 0, err
		}
	}
	return whole, nil
}

// blank is the lease without its parties, payment and escrow.
func (r *Reconciler) blank(
	job *boursev1.ComputeJob, part *boursev1.JobPart, offer *boursev1.GPUOffer, market *boursev1.Market,
) *boursev1.GPULease {
	return &boursev1.GPULease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: part.Lease.Namespace,
			Name:      part.Lease.Name,
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
			Workers:   part.Workers,
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
