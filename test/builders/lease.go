// SPDX-License-Identifier: Apache-2.0

package builders

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
)

// Salt is the salt of a job's program.
const Salt boursev1.Salt = "7XWQ2MZKJ5VDPAHT6CNRE3LYGB"

// Leased returns a job and its lease on Offer under Market, which the supplier has accepted.
func Leased(tb testing.TB, name string) (*boursev1.ComputeJob, *boursev1.GPULease) {
	tb.Helper()
	job, market, offer := Job(name), Market(), Offer(Supplier, "h100")
	lease := &boursev1.GPULease{
		ObjectMeta: metav1.ObjectMeta{Namespace: Supplier, Name: name + "-0a1b2c3d", UID: "lease-uid", Generation: 1},
		Spec: boursev1.GPULeaseSpec{
			Job:   boursev1.JobReference{Namespace: job.Namespace, Name: job.Name, UID: string(job.UID)},
			Offer: offer.Name, Pool: offer.Spec.Pool, Buyer: Address(Buyer), Supplier: Address(Supplier),
			Model: "h100", Workers: job.Spec.GPUs.Workers, PerWorker: job.Spec.GPUs.PerWorker,
			Terms: boursev1.LeaseTerms{
				Tier: boursev1.TierInterruptible, Isolation: boursev1.IsolationContainer, Egress: boursev1.EgressNone,
				DurationSeconds: job.Spec.DurationSeconds, NoticeSeconds: 30, PeriodSeconds: market.Spec.Settlement.PeriodSeconds,
			},
			Payment: boursev1.LeasePayment{
				Market: market.Name, MarketGeneration: market.Generation, Token: "IO", Mint: market.Spec.Tokens[0].Mint,
				Decimals: new(int32(8)), PriceUSD: offer.Spec.PriceUSD, PricePerGPUHour: 185_000_000,
				BuyerFeeBps: new(int32(25)), SupplierFeeBps: new(int32(25)), BurnBps: new(int32(10_000)),
				Treasury: market.Spec.Treasury, Deposit: 1_483_700_000,
				Arbiter: market.Spec.Arbitration.Arbiter, ArbiterCapBps: market.Spec.Arbitration.CapBps,
				DisputeDelaySeconds: market.Spec.Arbitration.DelaySeconds,
			},
			Escrow: boursev1.LeaseEscrow{
				ProgramID: market.Spec.ProgramID, ID: Hash("lease of " + name), Deadline: metav1.NewTime(Start.Add(130 * time.Minute)),
			},
			ProgramSHA256: contract.ProgramDigest(Salt, &job.Spec.Ray), Ends: contract.Ending(&job.Spec.Ray),
			AcceptBy: metav1.NewTime(Start.Add(30 * time.Second)), State: boursev1.LeaseActive,
		},
		Status: boursev1.GPULeaseStatus{
			Conditions: []metav1.Condition{Condition(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)},
		},
	}
	config, err := contract.Config(market)
	if err != nil {
		tb.Fatal(err)
	}
	lease.Spec.Payment.Config = boursev1.SolanaAddress(config.String())
	locate(tb, lease)
	job.Status.Lease = &boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}
	job.Status.Offer, job.Status.Model, job.Status.PriceUSD, job.Status.Attempts = offer.Name, "h100", "1.85", 1
	job.Status.ProgramSalt = Salt
	return job, lease
}

// locate derives the address of the lease's escrow.
func locate(tb testing.TB, lease *boursev1.GPULease) {
	tb.Helper()
	terms, err := contract.Escrow(lease)
	if err != nil {
		tb.Fatal(err)
	}
	address, err := terms.Address()
	if err != nil {
		tb.Fatal(err)
	}
	lease.Spec.Escrow.Address = boursev1.SolanaAddress(address.String())
}

// LeasedInParts returns a job that was split over so many offers, and the leases of its parts: each is as that of Leased, with two workers, in
// a namespace of its own. All are accepted.
func LeasedInParts(tb testing.TB, name string, parts int) (*boursev1.ComputeJob, []*boursev1.GPULease) {
	tb.Helper()
	job, first := Leased(tb, name)
	job.Spec.GPUs.Workers, job.Spec.Placement.Split = int32(2*parts), boursev1.SplitAcrossPools
	job.Spec.Bid.BudgetUSD = boursev1.USDPrice(strconv.Itoa(20 * parts))
	leases := make([]*boursev1.GPULease, parts)
	for i := range leases {
		lease := first.DeepCopy()
		lease.Spec.Part = &boursev1.LeasePart{Index: new(int32(i)), Of: int32(parts)}
		if i > 0 {
			lease.Namespace, lease.Name = fmt.Sprintf("dc-%d", i), fmt.Sprintf("%s-%d", first.Name, i)
			lease.UID = types.UID(fmt.Sprintf("lease-uid-%d", i))
			lease.Spec.Supplier, lease.Spec.Escrow.ID = Address(lease.Namespace), Hash("lease of "+lease.Name)
		}
		locate(tb, lease)
		leases[i] = lease
		job.Status.Parts = append(job.Status.Parts, boursev1.JobPart{
			Lease: boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}, Offer: lease.Spec.Offer, Workers: 2,
			PriceUSD: lease.Spec.Payment.PriceUSD, Score: "2.775",
		})
	}
	return job, leases
}

// Program returns what the market hands over for the lease of a job, and has the lease name it.
func Program(job *boursev1.ComputeJob, lease *boursev1.GPULease) *boursev1.LeaseProgram {
	lease.Spec.ProgramSHA256 = contract.ProgramDigest(job.Status.ProgramSalt, &job.Spec.Ray)
	lease.Spec.Ends = contract.Ending(&job.Spec.Ray)
	return &boursev1.LeaseProgram{
		ObjectMeta: metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
		Spec:       boursev1.LeaseProgramSpec{Salt: job.Status.ProgramSalt, Ray: *job.Spec.Ray.DeepCopy()},
	}
}
