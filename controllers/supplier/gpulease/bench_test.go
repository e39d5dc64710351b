// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	confirmLag, finalLag = 1, 3
	lamports             = 1_000_000_000
)

// bench is a supplier with two nodes of eight GPUs, a pool, and a lease for two workers of four, on a hub and a chain in memory.
// Every pass is made by a controller that remembers nothing.
type bench struct {
	t     *testing.T
	hub   *fakehub.Hub
	chain *chaintest.Fake
	lease *boursev1.GPULease
	in    bool // a pass is being made

	wallet signer.Signer // the supplier's
	going  leaving       // pods that are being deleted
}

// newBench lets the test change the lease and the pool before anybody sees them. What the lease runs follows from how it is to end.
func newBench(t *testing.T, change func(*boursev1.GPULease, *boursev1.GPUPool)) *bench {
	t.Helper()
	job, lease := builders.Leased(t, "train")
	lease.Status = boursev1.GPULeaseStatus{}
	lease.CreationTimestamp = metav1.NewTime(builders.Start)
	pool := &boursev1.GPUPool{
		ObjectMeta: metav1.ObjectMeta{Name: lease.Spec.Pool, Generation: 1},
		Spec: boursev1.GPUPoolSpec{
			NodeSelector: map[string]string{"pool": "a"}, Mode: boursev1.PoolSell, PriceUSD: "1.85", Tokens: []boursev1.TokenSymbol{"IO"},
			Region: "eu-north", Terms: builders.Offer(builders.Supplier, "h100").Spec.Terms,
		},
	}
	on := chaintest.New(confirmLag, finalLag)
	fakeprogram.Install(on, builders.Wallet("program").PublicKey())
	if err := fakeprogram.Configure(on, builders.Config()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{builders.Buyer, builders.Supplier} {
		on.Fund(builders.Wallet(name).PublicKey(), lamports)
	}
	if change != nil {
		change(lease, pool)
	}
	job.Spec.Ray.WorkerCPU, job.Spec.Ray.WorkerMemory = resource.MustParse("4"), resource.MustParse("16Gi")
	job.Spec.Ray.HeadCPU, job.Spec.Ray.HeadMemory = resource.MustParse("1"), resource.MustParse("4Gi")
	if lease.Spec.Ends == boursev1.EndsWithProgram {
		job.Spec.Ray.Entrypoint, job.Spec.Ray.Program = "python /bourse/program.py", "print(1)"
	}
	program := builders.Program(job, lease)
	market := builders.Market()
	if lease.Spec.Payment.Arbiter == "" {
		market.Spec.Arbitration = nil
	}
	hub := fakehub.New(t, nil, lease, program, pool, market, node("n1"), node("n2"))
	return &bench{t: t, hub: hub, chain: on, lease: lease, wallet: builders.Wallet(builders.Supplier), going: leaving{}}
}

func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"pool": "a", "nvidia.com/gpu.product": "NVIDIA-H100", "nvidia.com/gpu.memory": "81559",
		}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(builders.Start.Add(-time.Hour)),
		}}},
	}
}

// controller is one that was started just now.
func (b *bench) controller() *Reconciler {
	return &Reconciler{
		Teller: b.hub.Teller(), Hub: b.hub, Local: local{Client: b.hub, going: b.going}, LocalLive: b.hub, Ledger: OnChain{Chain: b.chain, Signer: b.wallet},
		Wallet: boursev1.SolanaAddress(b.wallet.PublicKey().String()), Namespace: builders.Supplier, HoldImage: "pause:1", Now: b.hub.Now,
	}
}

// try runs one pass and reads the lease again.
func (b *bench) try() (reconcile.Result, error) {
	b.t.Helper()
	lease := &boursev1.GPULease{ObjectMeta: b.lease.ObjectMeta}
	b.hub.Read(lease)
	b.in = true
	result, err := b.controller().Reconcile(b.t.Context(), lease)
	b.in = false
	found := &boursev1.GPULease{ObjectMeta: b.lease.ObjectMeta}
	if got := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(found), found); got == nil {
		b.lease = found
	} else if !apierrors.IsNotFound(got) {
		b.t.Fatal(got)
	}
	return result, err
}

// pass runs one pass that must not fail.
func (b *bench) pass() reconcile.Result {
	b.t.Helper()
	result, err := b.try()
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	return result
}

// rest runs passes until one writes nothing, with nothing else going on meanwhile.
func (b *bench) rest() reconcile.Result {
	b.t.Helper()
	for range 10 {
		var result reconcile.Result
		if wrote := b.hub.Writes(func() { result = b.pass() }); len(wrote) == 0 {
			return result
		}
	}
	b.t.Fatal("ten passes did not come to rest: something is written again and again")
	return reconcile.Result{}
}

// want fails unless the condition is so.
func (b *bench) want(condition string, status metav1.ConditionStatus, reason string) {
	b.t.Helper()
	found := meta.FindStatusCondition(b.lease.Status.Conditions, condition)
	if found == nil || found.Status != status || found.Reason != reason {
		b.t.Fatalf("%s is %+v, want %s %s", condition, found, status, reason)
	}
}

// wantEnd fails unless the lease ended so.
func (b *bench) wantEnd(reason string, party boursev1.Party) {
	b.t.Helper()
	if end := b.lease.Status.End; end == nil || end.Reason != reason || end.Party != party {
		b.t.Fatalf("end is %+v, want %s by %s", end, reason, party)
	}
}

// pods returns the pods of the lease's namespace.
func (b *bench) pods() []corev1.Pod {
	b.t.Helper()
	var pods corev1.PodList
	if err := b.hub.List(b.t.Context(), &pods, client.InNamespace(space(b.lease))); err != nil {
		b.t.Fatal(err)
	}
	return pods.Items
}

// edit changes the status of the pods whose names begin like that.
func (b *bench) edit(prefix string, change func(*corev1.Pod)) {
	b.t.Helper()
	for _, pod := range b.pods() {
		if len(pod.Name) < len(prefix) || pod.Name[:len(prefix)] != prefix {
			continue
		}
		change(&pod)
		b.hub.EditStatus(&pod)
	}
}

// schedule places every pod that has no node.
func (b *bench) schedule() {
	b.t.Helper()
	for i, pod := range b.pods() {
		if pod.Spec.NodeName == "" {
			pod.Spec.NodeName = fmt.Sprintf("n%d", 1+i%2)
			b.hub.Edit(&pod)
		}
	}
}

// kuberay makes the pods of the lease's Ray cluster.
func (b *bench) kuberay() {
	b.t.Helper()
	object, launched, err := b.controller().running(b.t.Context(), b.lease)
	if err != nil || !launched {
		b.t.Fatalf("nothing was launched: %v", err)
	}
	pods, err := raytest.Pods(object, b.hub.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, pod := range pods {
		if err := b.hub.Create(b.t.Context(), pod); err != nil {
			b.t.Fatal(err)
		}
	}
}

// vanish removes all pods, as when nodes have stopped them.
func (b *bench) vanish() {
	b.t.Helper()
	for _, pod := range b.pods() {
		if err := b.hub.Delete(b.t.Context(), &pod); err != nil {
			b.t.Fatal(err)
		}
	}
}

// accepted takes the lease to where its GPUs are held.
func (b *bench) accepted() {
	b.t.Helper()
	b.rest()
	b.schedule()
	b.pass()
	b.want(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)
}

// deposit opens the escrow on chain, finally.
func (b *bench) deposit() {
	b.t.Helper()
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	instructions, err := escrow.Open(terms)
	if err != nil {
		b.t.Fatal(err)
	}
	record, err := outbox.Prepare(b.t.Context(), b.chain, builders.Wallet(builders.Buyer), "Open", instructions, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := outbox.Drive(b.t.Context(), b.chain, record); err != nil {
		b.t.Fatal(err)
	}
	b.chain.Tick(finalLag + 2)
}

// launched takes the lease to where its Ray pods exist.
func (b *bench) launched() {
	b.t.Helper()
	b.accepted()
	b.deposit()
	b.rest()
	b.kuberay()
	b.rest()
	b.schedule()
}

// running takes the lease to where every worker is ready, a minute after its begin.
func (b *bench) running() {
	b.t.Helper()
	b.launched()
	b.hub.Step(time.Minute)
	b.edit("ray-", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
	b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
}

// promise signs a voucher for the newest usage record, as the buyer does.
func (b *bench) promise() {
	b.t.Helper()
	usage := b.lease.Status.Usage
	b.promiseAmount(usage.Sequence, *usage.Gross, usage.Digest)
}

func (b *bench) promiseAmount(sequence, gross int64, digest string) {
	b.t.Helper()
	program, address := b.addresses()
	message := escrow.VoucherMessage(program, address, money.Amount(gross))
	signature, err := builders.Wallet(builders.Buyer).Sign(b.t.Context(), message)
	if err != nil {
		b.t.Fatal(err)
	}
	voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Spec.Job.Namespace, Name: b.lease.Name}}
	err = b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(voucher), voucher)
	voucher.Spec = boursev1.VoucherSpec{
		Lease:  boursev1.ObjectReference{Namespace: b.lease.Namespace, Name: b.lease.Name},
		Escrow: b.lease.Spec.Escrow.Address, ProgramID: b.lease.Spec.Escrow.ProgramID,
		Sequence: sequence, Gross: &gross, UsageDigest: digest, Signature: boursev1.SolanaSignature(signature.String()),
	}
	if apierrors.IsNotFound(err) {
		err = b.hub.Create(b.t.Context(), voucher)
	} else if err == nil {
		b.hub.Edit(voucher)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) addresses() (program, address chain.Address) {
	b.t.Helper()
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	if address, err = terms.Address(); err != nil {
		b.t.Fatal(err)
	}
	return terms.Program, address
}

// until runs passes and lets the chain make blocks, until it holds.
func (b *bench) until(what string, holds func() bool) {
	b.t.Helper()
	for range 30 {
		b.pass()
		if holds() {
			return
		}
		b.chain.Tick(1)
	}
	b.t.Fatalf("it never came to this: %s (transaction %+v, conditions %+v)", what, b.lease.Status.Transaction, b.lease.Status.Conditions)
}

func (b *bench) paid() int64 { return number(b.lease.Status.Paid) }

// over lets the nodes stop the pods, and waits until the lease is settled and forgotten.
func (b *bench) over() {
	b.t.Helper()
	b.hub.Step(lastWords)
	b.pass()
	b.vanish()
	b.until("the lease is over", func() bool { return over(b.lease) })
	for range 4 {
		b.pass()
	}
}

// transactions lists the escrow's finalized ones that succeeded, and counts those that failed.
func (b *bench) transactions() (succeeded []chain.SignatureInfo, failed int) {
	b.t.Helper()
	b.chain.Tick(finalLag + 2)
	_, address := b.addresses()
	infos, err := b.chain.Signatures(b.t.Context(), address, chain.Signature{})
	if err != nil {
		b.t.Fatal(err)
	}
	succeeded = slices.DeleteFunc(infos, func(info chain.SignatureInfo) bool {
		if info.Failed {
			failed++
		}
		return info.Failed
	})
	return succeeded, failed
}

// wrongID is an escrow id that leads to another address.
func wrongID() string { return hex.EncodeToString(make([]byte, 32)) }
