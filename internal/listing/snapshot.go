// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/manifest"
)

// Snapshot is what a hub holds at a moment of what decides matches.
type Snapshot struct {
	Markets []boursev1.Market
	Members []boursev1.Member
	Stakes  []boursev1.StakePosition
	Offers  []boursev1.GPUOffer
	Jobs    []boursev1.ComputeJob
	Leases  []boursev1.GPULease
}

// Take reads a snapshot from the hub. Leases come last, so that what a job was given is not missed. Who may not read all jobs gets those of
// one namespace: of others only what the market has promised in the last moment, and not yet written into a lease, is missed.
func Take(ctx context.Context, hub client.Reader, namespace string) (Snapshot, error) {
	var markets boursev1.MarketList
	var members boursev1.MemberList
	var stakes boursev1.StakePositionList
	var offers boursev1.GPUOfferList
	var jobs boursev1.ComputeJobList
	var leases boursev1.GPULeaseList
	for _, list := range []client.ObjectList{&markets, &members, &stakes, &offers, &jobs, &leases} {
		err := hub.List(ctx, list)
		if list == client.ObjectList(&jobs) && apierrors.IsForbidden(err) {
			err = hub.List(ctx, list, client.InNamespace(namespace))
		}
		if err != nil {
			return Snapshot{}, fmt.Errorf("read market: %w", err)
		}
	}
	return Snapshot{
		Markets: markets.Items, Members: members.Items, Stakes: stakes.Items, Offers: offers.Items, Jobs: jobs.Items, Leases: leases.Items,
	}, nil
}

// Parse adds the objects of a text that kubectl wrote. A field that the API does not have is an error.
func (s *Snapshot) Parse(text []byte) error {
	err := manifest.Each(text, func(kind string, raw []byte) error {
		switch kind {
		case "Market":
			return manifest.Append(&s.Markets, raw)
		case "Member":
			return manifest.Append(&s.Members, raw)
		case "StakePosition":
			return manifest.Append(&s.Stakes, raw)
		case "GPUOffer":
			return manifest.Append(&s.Offers, raw)
		case "ComputeJob":
			return manifest.Append(&s.Jobs, raw)
		case "GPULease":
			return manifest.Append(&s.Leases, raw)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read market: %w", err)
	}
	return nil
}

// Market returns the Market that serves jobs, or nil.
func (s *Snapshot) Market() *boursev1.Market { return contract.Serving(s.Markets) }

// Book returns the book as the market has it at a moment: every offer, less what is held of it, except for one job. It also returns which
// offers cannot be read; they are not in it, as they are not in the market's.
func (s *Snapshot) Book(except types.UID, now time.Time) (*book.Book, error) {
	b, suppliers := book.New(), map[string]Supplier{}
	var unreadable []error
	for i := range s.Offers {
		namespace := s.Offers[i].Namespace
		if _, known := suppliers[namespace]; !known {
			suppliers[namespace] = s.supplier(namespace)
		}
		entry, err := Offer(&s.Offers[i], suppliers[namespace])
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf("offer %s: %w", NameOf(&s.Offers[i]), err))
			continue
		}
		b.Upsert(entry)
	}
	s.choices(b, except, now)
	for i := range s.Leases {
		if lease := &s.Leases[i]; Open(lease) && lease.Spec.Job.UID != string(except) {
			promises, until := Held(lease)
			b.Promise(NameOf(lease), promises, until)
		}
	}
	return b, errors.Join(unreadable...)
}

// choices keeps what was chosen for jobs, except for one, whose leases are not made yet.
func (s *Snapshot) choices(b *book.Book, except types.UID, now time.Time) {
	for i := range s.Jobs {
		job := &s.Jobs[i]
		if job.UID == except || kube.IsTrue(job, boursev1.JobMatched) || Ended(job) {
			continue
		}
		for _, part := range Parts(job) {
			b.Promise(part.Lease.Namespace+"/"+part.Lease.Name, Chosen(job, &part), now.Add(AcceptWithin))
		}
	}
}

// Wallet returns the wallet of the admitted member of a namespace; empty without one.
func (s *Snapshot) Wallet(namespace string) boursev1.SolanaAddress {
	if member := s.member(namespace); member != nil {
		return member.Spec.Wallet
	}
	return ""
}

func (s *Snapshot) member(namespace string) *boursev1.Member {
	for i := range s.Members {
		if s.Members[i].Namespace == namespace && kube.IsTrue(&s.Members[i], boursev1.Ready) {
			return &s.Members[i]
		}
	}
	return nil
}

// supplier is what the market holds of the supplier of a namespace.
func (s *Snapshot) supplier(namespace string) Supplier {
	var stake *boursev1.StakePosition
	for i := range s.Stakes {
		if s.Stakes[i].Namespace == namespace && s.Stakes[i].Name == boursev1.OwnStakeName {
			stake = &s.Stakes[i]
		}
	}
	return SupplierOf(s.member(namespace), stake, s.Market())
}

// RefusedBefore returns the offers whose suppliers refused the job before it got its present lease, or before now if it has none.
func (s *Snapshot) RefusedBefore(job *boursev1.ComputeJob) []string {
	last := job.Status.Attempts
	if job.Status.Lease != nil {
		last--
	}
	return OffersOf(RefusedIn(job, last, s.Leases))
}
