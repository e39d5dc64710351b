// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// Formula is the version of the rules, the score and the draw. A record can be replayed by the version that made it.
const Formula = 3

// Record is what is kept of a decision so that anybody who has the inputs can take it again: which inputs they were, how many offers each
// rule left, and what told the winner from the next.
type Record struct {
	Formula   int
	At        time.Time
	Demand    Digest
	Book      Digest
	Offers    int
	Rejected  string // such as "model 30, region 8"
	Winners   []Winner
	By        string
	Next      string
	NextScore money.USD
}

// Winner is an offer that got workers.
type Winner struct {
	Offer   string
	Workers int
	Score   money.USD // as a price: the lower one wins
}

// Record returns the record of a decision on the book whose digest is given.
func (d *Decision) Record(book Digest) Record {
	r := Record{
		Formula: Formula, At: d.demand.At, Demand: d.demand.Digest(), Book: book, Offers: d.Offers, Rejected: d.filters(),
		By: d.By.String(), Next: d.Next, NextScore: money.USD(d.NextScore),
	}
	for i := range d.Fills {
		fill := &d.Fills[i]
		r.Winners = append(r.Winners, Winner{Offer: fill.Offer.Name, Workers: fill.Workers, Score: money.USD(fill.Score)})
	}
	return r
}

func (d *Decision) filters() string {
	var parts []string
	for r, n := range d.Rejected {
		if n > 0 {
			parts = append(parts, Rule(r).String()+" "+strconv.Itoa(n))
		}
	}
	return strings.Join(parts, ", ")
}

// Replay takes a decision again from its inputs, and returns in what it differs from its record: nothing when it is the same.
func Replay(record Record, d *Demand, offers []Offer) []string {
	if record.Formula != Formula {
		return []string{fmt.Sprintf("formula: the record was made by version %d, this is version %d", record.Formula, Formula)}
	}
	decision := Judge(d, offers)
	again := decision.Record(DigestOf(offers))
	var differences []string
	differ := func(what string, was, is any, same bool) {
		if !same {
			differences = append(differences, fmt.Sprintf("%s: the record has %v, the inputs give %v", what, was, is))
		}
	}
	differ("time", record.At, again.At, record.At.Equal(again.At))
	differ("demand", record.Demand, again.Demand, record.Demand == again.Demand)
	differ("book", record.Book, again.Book, record.Book == again.Book)
	differ("offers", record.Offers, again.Offers, record.Offers == again.Offers)
	differ("rejected", record.Rejected, again.Rejected, record.Rejected == again.Rejected)
	differ("winners", record.Winners, again.Winners, slices.Equal(record.Winners, again.Winners))
	differ("decided by", record.By, again.By, record.By == again.By)
	differ("next", record.Next, again.Next, record.Next == again.Next)
	differ("next score", record.NextScore, again.NextScore, record.NextScore == again.NextScore)
	return differences
}
