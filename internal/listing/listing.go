// SPDX-License-Identifier: Apache-2.0

// Package listing says what jobs, offers and leases of the API are to the matcher, and what a job costs: the market and everybody who asks
// what the market would do go by it. It reads nothing by itself and writes nothing.
package listing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

const (
	// AcceptWithin is how long a supplier has to accept a lease.
	AcceptWithin = 30 * time.Second
	// StartAllowance is how long deposit, image and pods may take before the term begins, on the escrow's deadline.
	StartAllowance = 10 * time.Minute
	// Republished is how long after a lease's acceptance its GPUs still count against the offer: by then the supplier has published
	// the offer without them. If it has not, the next lease on them is refused and tried again, and nothing is sold twice.
	Republished = 10 * time.Second
)

// RoundUp returns when a job is decided on that is looked at now: at the next whole second, which the API can hold. An offer that ends
// before counts no more.
func RoundUp(now time.Time) time.Time {
	whole := now.Truncate(time.Second)
	if whole.Before(now) {
		whole = whole.Add(time.Second)
	}
	return whole.UTC()
}

// risesIn is in how many steps a bid rises by default.
const risesIn = 10

// perPercent converts the API's percentages into parts per million.
const perPercent = book.PPM / 100

// Demand is what a job asks of the book at a moment, for the wallet of its buyer, who was refused last by some offers or none. It fails if a
// price cannot be read.
func Demand(job *boursev1.ComputeJob, buyer boursev1.SolanaAddress, refused []string, at time.Time) (book.Demand, error) {
	bids, err := scheduleOf(job)
	if err != nil {
		return book.Demand{}, err
	}
	wanted := book.Demand{
		UID:       string(job.UID),
		At:        at,
		Workers:   int(job.Spec.GPUs.Workers),
		PerWorker: int(job.Spec.GPUs.PerWorker),
		Parts:     mostParts(job),
		Token:     string(job.Spec.Bid.Token),
		MaxPrice:  bids.At(waited(job, at)),
		Regions:   texts(job.Spec.Placement.Regions),
		Isolation: isolation(job.Spec.Placement.Isolation),
		Tier:      string(job.Spec.Placement.Tier),
		Egress:    egress(job.Spec.Placement.Egress),
		Duration:  time.Duration(job.Spec.DurationSeconds) * time.Second,
		Start:     StartAllowance,
		Image:     job.Spec.Ray.Image,
		Weights:   weights(&job.Spec.Ranking),
		Buyer:     string(buyer),
		Refused:   refused,
	}
	if least := job.Spec.Placement.MinReputationPercent; least != nil {
		wanted.MinReputation = ppm(*least)
	}
	for _, name := range job.Spec.GPUs.Models {
		model := book.Model{Name: string(name)}
		for _, speed := range job.Spec.Ranking.Speeds {
			if speed.Model == name {
				model.Speed = ppm(speed.Percent)
			}
		}
		wanted.Models = append(wanted.Models, model)
	}
	for _, penalty := range job.Spec.Placement.RegionPenalties {
		wanted.Penalties = append(wanted.Penalties, book.Penalty{Region: string(penalty.Region), PPM: ppm(penalty.Percent)})
	}
	return wanted, nil
}

func weights(ranking *boursev1.Ranking) book.Weights {
	chosen := book.DefaultWeights()
	if ranking.ReputationPercent != nil {
		chosen.Reputation = ppm(*ranking.ReputationPercent)
	}
	if ranking.PackingPercent != nil {
		chosen.Packing = ppm(*ranking.PackingPercent)
	}
	return chosen
}

func ppm(percent int32) uint32 { return uint32(max(0, percent)) * perPercent }

// Supplier is what the market holds of a supplier, and the book of its offers.
type Supplier struct {
	Reputation uint32 // in parts per million
	Unstaked   bool   // it lacks the stake that the market asks for
}

// SupplierOf says what the market holds of a supplier: its Member, its own StakePosition and the Market, each of which may be nil.
func SupplierOf(member *boursev1.Member, stake *boursev1.StakePosition, market *boursev1.Market) Supplier {
	supplier := Supplier{Unstaked: market != nil && market.Spec.Stake != nil && (stake == nil || !kube.IsTrue(stake, boursev1.StakeCovered))}
	if member != nil {
		supplier.Reputation = contract.ReputationOf(member)
	}
	return supplier
}

// Offer is what an offer says to the book. It fails if its price cannot be read.
func Offer(offer *boursev1.GPUOffer, of Supplier) (book.Offer, error) {
	price, err := money.ParseUSD(string(offer.Spec.PriceUSD))
	if err != nil {
		return book.Offer{}, fmt.Errorf("read spec.priceUSD: %w", err)
	}
	terms := &offer.Spec.Terms
	entry := book.Offer{
		Name:       NameOf(offer),
		Model:      string(offer.Spec.Model),
		MemoryMiB:  int(offer.Spec.MemoryMiB),
		Region:     string(offer.Spec.Region),
		Price:      price,
		Tokens:     texts(offer.Spec.Tokens),
		Tiers:      texts(terms.Tiers),
		Allowed:    texts(terms.Images),
		Buyers:     texts(terms.Buyers),
		Isolation:  isolation(terms.Isolation),
		Egress:     egress(terms.Egress),
		Shortest:   time.Duration(terms.MinDurationSeconds) * time.Second,
		Longest:    time.Duration(terms.MaxDurationSeconds) * time.Second,
		Reputation: of.Reputation,
		Unstaked:   of.Unstaked,
	}
	if Stands(offer) {
		entry.ValidUntil = offer.Spec.ValidUntil.Time
	}
	if offer.Spec.AvailableUntil != nil {
		entry.Until = offer.Spec.AvailableUntil.Time
	}
	for _, shape := range offer.Spec.Shapes {
		entry.Shapes = append(entry.Shapes, book.Shape{Free: int(shape.FreeGPUs), Nodes: int(shape.Nodes)})
	}
	return entry, nil
}

// NameOf is what the book calls an offer or a lease.
func NameOf(object metav1.Object) string { return object.GetNamespace() + "/" + object.GetName() }

// Stands says whether jobs may be matched to the offer while it is valid.
func Stands(offer *boursev1.GPUOffer) bool {
	return kube.IsTrue(offer, boursev1.Ready) && offer.DeletionTimestamp.IsZero()
}

// Open says whether a lease may still get or hold GPUs.
func Open(lease *boursev1.GPULease) bool {
	return lease.Spec.State != boursev1.LeaseEnded && lease.Status.End == nil
}

// Held is what an open lease may hold of its offer's published numbers, and until when: always, before it is accepted.
func Held(lease *boursev1.GPULease) (promises []book.Promise, until time.Time) {
	if accepted := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseAccepted); kube.IsTrue(lease, boursev1.LeaseAccepted) {
		until = accepted.LastTransitionTime.Add(Republished)
	}
	return []book.Promise{{
		Offer: OfferOf(lease),
		Gang:  book.Gang{Workers: int(lease.Spec.Workers), PerWorker: int(lease.Spec.PerWorker)},
	}}, until
}

// Chosen is what is kept for a part of a job whose offer is chosen and whose lease is not seen yet.
func Chosen(job *boursev1.ComputeJob, part *boursev1.JobPart) []book.Promise {
	return []book.Promise{{
		Offer: part.Lease.Namespace + "/" + part.Offer,
		Gang:  book.Gang{Workers: int(part.Workers), PerWorker: int(job.Spec.GPUs.PerWorker)},
	}}
}

// Refused says whether the lease ended because its supplier did not accept it, or left before it had. One that the market ended for the sake of
// another part did not, whatever its supplier would have said; and one that was accepted was not refused, since it may have been paid for.
func Refused(lease *boursev1.GPULease) bool {
	switch {
	case lease.Spec.EndReason == boursev1.EndPartEnded, Began(lease):
		return false
	case lease.Status.End != nil:
		return lease.Status.End.Reason == boursev1.EndNotAccepted
	case lease.Spec.State != boursev1.LeaseEnded:
		return false
	case lease.Spec.EndReason == boursev1.EndSupplierLeft:
		return true
	default:
		return lease.Spec.EndReason == boursev1.EndNotAccepted
	}
}

// Began says whether the lease was accepted, or shows that it must have been.
func Began(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.LeaseAccepted) || lease.Status.Usage != nil || lease.Status.Paid != nil
}

// Ended says whether nothing can become of the job any more. A rejected job can still be edited.
func Ended(job *boursev1.ComputeJob) bool {
	succeeded := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded)
	if succeeded == nil || succeeded.Reason == boursev1.ReasonRejected {
		return false
	}
	return kube.IsTrue(job, boursev1.Succeeded) || kube.IsFalse(job, boursev1.Succeeded)
}

// LeaseName is the name of a lease of a job's n-th attempt, of its first part or of another one: at most 50 characters, fit for a namespace's
// name, and the same at each retry.
func LeaseName(job *boursev1.ComputeJob, attempt int32, part int) string {
	const most, digest = 41, 4
	stem := strings.ReplaceAll(job.Name, ".", "-")
	stem = strings.TrimRight(stem[:min(len(stem), most)], "-")
	named := fmt.Appendf(nil, "%s/%d", job.UID, attempt)
	if part > 0 {
		named = fmt.Appendf(named, "/%d", part)
	}
	sum := sha256.Sum256(named)
	return stem + "-" + hex.EncodeToString(sum[:digest])
}

func isolation(level boursev1.Isolation) book.Isolation {
	switch level {
	case boursev1.IsolationSandbox:
		return book.Sandbox
	case boursev1.IsolationVM:
		return book.VM
	case boursev1.IsolationConfidential:
		return book.Confidential
	default:
		return book.Container
	}
}

func egress(level boursev1.Egress) book.Egress {
	switch level {
	case boursev1.EgressRegistry:
		return book.Registry
	case boursev1.EgressInternet:
		return book.Internet
	default:
		return book.None
	}
}

func texts[T ~string](of []T) []string {
	list := make([]string, len(of))
	for i, one := range of {
		list[i] = string(one)
	}
	return list
}

// SetDefaults gives a job that the API server has not seen the defaults that it would get there, as far as the matcher looks at them.
func SetDefaults(job *boursev1.ComputeJob) {
	setDefault(&job.Spec.GPUs.PerWorker, 1)
	if rise := job.Spec.Bid.Rise; rise != nil {
		setDefault(&rise.Steps, risesIn)
	}
	setDefault(&job.Spec.Placement.Split, boursev1.SplitOnePool)
	setDefault(&job.Spec.Placement.Isolation, boursev1.IsolationContainer)
	setDefault(&job.Spec.Placement.Tier, boursev1.TierInterruptible)
	setDefault(&job.Spec.Placement.Egress, boursev1.EgressNone)
}

func setDefault[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}
