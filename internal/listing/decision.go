// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/money"
)

// Decision is a record as the job's status holds it.
func Decision(record *book.Record) *boursev1.JobDecision {
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

// ErrUndecided says that a job holds no record of a match.
var ErrUndecided = errors.New("the job holds no record of a match")

// Record is the record that a job's status holds. It fails with ErrUndecided where there is none, and otherwise if one cannot be read.
func Record(job *boursev1.ComputeJob) (book.Record, error) {
	decision := job.Status.Decision
	if decision == nil || job.Status.Lease == nil {
		return book.Record{}, ErrUndecided
	}
	record := book.Record{
		Formula: int(decision.Formula), At: decision.At.UTC(), Offers: int(decision.Offers), Rejected: decision.Rejected,
		By: string(decision.By), Next: decision.Next,
	}
	var err error
	for _, field := range []struct {
		name string
		read func() error
	}{
		{"demand", func() error { record.Demand, err = book.ParseDigest(string(decision.Demand)); return err }},
		{"book", func() error { record.Book, err = book.ParseDigest(string(decision.Book)); return err }},
		{"nextScore", func() error { record.NextScore, err = optionalUSD(decision.NextScore); return err }},
	} {
		if err := field.read(); err != nil {
			return book.Record{}, fmt.Errorf("read status.decision.%s: %w", field.name, err)
		}
	}
	for _, part := range Parts(job) {
		won := book.Winner{Offer: part.Lease.Namespace + "/" + part.Offer, Workers: int(part.Workers)}
		if won.Score, err = money.ParseUSD(part.Score); err != nil {
			return book.Record{}, fmt.Errorf("read the score of offer %s: %w", won.Offer, err)
		}
		record.Winners = append(record.Winners, won)
	}
	return record, nil
}

func optionalUSD(text string) (money.USD, error) {
	if text == "" {
		return 0, nil
	}
	return money.ParseUSD(text)
}
