// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/reputation"
)

// perPercent converts the API's percentages into parts per million.
const perPercent = book.PPM / 100

// demand is what a job asks of the book at a moment.
func demand(job *boursev1.ComputeJob, refused string, at time.Time) (book.Demand, error) {
	price, err := money.ParseUSD(string(job.Spec.Bid.MaxPriceUSD))
	if err != nil {
		return book.Demand{}, err
	}
	wanted := book.Demand{
		UID:       string(job.UID),
		At:        at,
		Workers:   int(job.Spec.GPUs.Workers),
		PerWorker: int(job.Spec.GPUs.PerWorker),
		Token:     string(job.Spec.Bid.Token),
		MaxPrice:  price,
		Regions:   texts(job.Spec.Placement.Regions),
		Isolation: isolation(job.Spec.Placement.Isolation),
		Tier:      string(job.Spec.Placement.Tier),
		Egress:    egress(job.Spec.Placement.Egress),
		Duration:  time.Duration(job.Spec.DurationSeconds) * time.Second,
		Start:     startAllowance,
		Image:     job.Spec.Ray.Image,
		Weights:   weights(&job.Spec.Ranking),
		Refused:   refused,
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

// bookOffer is what an offer says to the book. Nothing computes suppliers' reputations yet, so all have the same: that of a newcomer.
func bookOffer(offer *boursev1.GPUOffer) (book.Offer, error) {
	price, err := money.ParseUSD(string(offer.Spec.PriceUSD))
	if err != nil {
		return book.Offer{}, err
	}
	terms := &offer.Spec.Terms
	entry := book.Offer{
		Name:       offer.Namespace + "/" + offer.Name,
		Model:      string(offer.Spec.Model),
		MemoryMiB:  int(offer.Spec.MemoryMiB),
		Region:     string(offer.Spec.Region),
		Price:      price,
		Tokens:     texts(offer.Spec.Tokens),
		Tiers:      texts(terms.Tiers),
		Isolation:  isolation(terms.Isolation),
		Egress:     egress(terms.Egress),
		Shortest:   time.Duration(terms.MinDurationSeconds) * time.Second,
		Longest:    time.Duration(terms.MaxDurationSeconds) * time.Second,
		Reputation: reputation.Newcomer,
	}
	if stands(offer) {
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

// decisionOf is a record as the job's status holds it.
func decisionOf(record *book.Record) *boursev1.JobDecision {
	decision := &boursev1.JobDecision{
		Formula:  int32(record.Formula), //nolint:gosec // a small constant
		At:       metav1.NewTime(record.At),
		Demand:   boursev1.SHA256(record.Demand.String()),
		Book:     boursev1.SHA256(record.Book.String()),
		Offers:   int32(min(record.Offers, 1<<31-1)), //nolint:gosec // bounded
		Rejected: record.Rejected,
		Score:    record.Winners[0].Score.String(),
		By:       boursev1.DecisionEdge(record.By),
		Next:     record.Next,
	}
	if record.Next != "" {
		decision.NextScore = record.NextScore.String()
	}
	return decision
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
