// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	confirmLag, finalLag = 1, 3
	lamports             = 1_000_000_000
	blockhashLife        = 160 // blocks: more than a blockhash lives
)

// bench is a buyer with a funded wallet, one job and its accepted lease.
type bench struct {
	t     *testing.T
	hub   *fakehub.Hub
	chain *chaintest.Fake
	lease *boursev1.GPULease
	r     *Reconciler
}

// newBench lets the test change the lease, the job and the market before anybody sees them.
func newBench(t *testing.T, change func(*boursev1.GPULease, *boursev1.ComputeJob, *boursev1.Market)) *bench {
	t.Helper()
	job, lease := builders.Leased(t, "train")
	market := builders.Market()
	on := chaintest.New(confirmLag, finalLag)
	fakeprogram.Install(on, builders.Wallet("program").PublicKey())
	if err := fakeprogram.Configure(on, builders.Config()); err != nil {
		t.Fatal(err)
	}
	on.Fund(builders.Wallet(builders.Buyer).PublicKey(), lamports)
	genesis, err := on.GenesisHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	if change != nil {
		change(lease, job, market)
	}
	b := &bench{t: t, hub: fakehub.New(t, nil, job, lease, market), chain: on, lease: lease}
	b.restart()
	return b
}

// restart replaces the controller by one that remembers nothing.
func (b *bench) restart() {
	b.r = &Reconciler{Hub: b.hub, Chain: b.chain, Signer: builders.Wallet(builders.Buyer), Now: b.hub.Now}
}

// try runs one pass.
func (b *bench) try() (reconcile.Result, error) {
	b.hub.Read(b.lease)
	return b.r.Reconcile(b.t.Context(), b.lease)
}

// pass runs one pass and returns the voucher, nil when there is none.
func (b *bench) pass() (*boursev1.Voucher, reconcile.Result) {
	b.t.Helper()
	result, err := b.try()
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	return b.voucher(), result
}

func (b *bench) voucher() *boursev1.Voucher {
	b.t.Helper()
	voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Buyer, Name: b.lease.Name}}
	err := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(voucher), voucher)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return voucher
}

// fund runs passes until the deposit has landed.
func (b *bench) fund() *boursev1.Voucher {
	b.t.Helper()
	for range 20 {
		voucher, _ := b.pass()
		if voucher != nil && voucher.Spec.Deposit != nil && voucher.Spec.Deposit.State == boursev1.TransactionLanded {
			return voucher
		}
		b.chain.Tick(1)
	}
	b.t.Fatal("the deposit did not land")
	return nil
}

// quiet fails unless a pass writes nothing.
func (b *bench) quiet() {
	b.t.Helper()
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		b.t.Errorf("another pass wrote %v", wrote)
	}
}

// opened says how many transactions opened the lease's escrow, and how many failed on it.
func (b *bench) transactions() (succeeded, failed int) {
	b.t.Helper()
	b.chain.Tick(finalLag + 1)
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	address, err := terms.Address()
	if err != nil {
		b.t.Fatal(err)
	}
	infos, err := b.chain.Signatures(b.t.Context(), address, chain.Signature{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, info := range infos {
		if info.Failed {
			failed++
		} else {
			succeeded++
		}
	}
	return succeeded, failed
}

// configOf is where the market's configuration would be.
func configOf(market *boursev1.Market) boursev1.SolanaAddress {
	address, err := contract.Config(market)
	if err != nil {
		return boursev1.SolanaAddress(err.Error())
	}
	return boursev1.SolanaAddress(address.String())
}
