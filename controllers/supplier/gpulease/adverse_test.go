// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/test/builders"
)

// report makes a node report, or fall silent.
func (b *bench) report(name string, status corev1.ConditionStatus) {
	b.t.Helper()
	found := node(name)
	b.hub.Read(found)
	found.Status.Conditions[0].Status = status
	b.hub.EditStatus(found)
}

// TestANodeThatReportsAgainHasTime lets a node be silent for longer than a worker may be not ready. When the node reports again,
// its pods have not done so yet.
func TestANodeThatReportsAgainHasTime(t *testing.T) {
	b := metered(t)
	b.report("n1", corev1.ConditionUnknown)
	b.edit("ray-worker", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
	b.rest()
	b.hub.Step(lostAllowance + time.Minute)
	b.rest()
	b.report("n1", corev1.ConditionTrue)
	b.rest()
	if b.lease.Status.End != nil {
		t.Fatalf("the time in which nobody saw the workers counts against them: %+v", b.lease.Status.End)
	}
	b.hub.Step(lostAllowance)
	b.rest()
	b.wantEnd(boursev1.EndFault, boursev1.PartySupplier)
}

// TestEveryNodeMayBeSilent has a silent node that the status does not name: it names only the first ones of a large lease.
func TestEveryNodeMayBeSilent(t *testing.T) {
	b := metered(t)
	b.lease.Status.Nodes = b.lease.Status.Nodes[:1]
	b.hub.EditStatus(b.lease)
	b.report("n2", corev1.ConditionUnknown)
	b.edit("ray-worker", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
	b.rest()
	b.hub.Step(lostAllowance + time.Minute)
	b.rest()
	if b.lease.Status.End != nil {
		t.Fatalf("the lease ended for what nobody saw: %+v", b.lease.Status.End)
	}
}

// TestAPromiseThatIsTakenBackHoldsNothingUp ends a lease whose claim expired, and whose voucher says less by then.
func TestAPromiseThatIsTakenBackHoldsNothingUp(t *testing.T) {
	cases := map[string]func(*bench){
		"the voucher is deleted": func(b *bench) {
			voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Spec.Job.Namespace, Name: b.lease.Name}}
			if err := b.hub.Delete(b.t.Context(), voucher); err != nil {
				b.t.Fatal(err)
			}
		},
		"the voucher is made anew for what is paid": func(b *bench) {
			b.promiseAmount(b.lease.Status.Usage.Sequence, grossOf(480), b.lease.Status.Usage.Digest)
		},
	}
	for name, takesBack := range cases {
		t.Run(name, func(t *testing.T) {
			b := meteredOf(t, withoutArbiter)
			b.promise()
			b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
			b.hub.Step(time.Minute)
			b.rest()
			b.promise()
			b.pass() // the claim is written down, and not yet sent
			takesBack(b)
			b.chain.Tick(blockhashLife)
			b.deleteJob()
			b.rest()
			b.vanish()
			b.rest()
			b.hub.Step(leastWait)
			b.over()
			b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
			b.nothingLeft()
		})
	}
}

// TestADeletedLeaseIsGivenUp has a chain that cannot be reached for longer than the finalizer is kept.
func TestADeletedLeaseIsGivenUp(t *testing.T) {
	b := metered(t)
	if err := b.hub.Delete(t.Context(), b.lease); err != nil {
		t.Fatal(err)
	}
	b.rest()
	b.wantEnd(boursev1.EndJobDeleted, boursev1.PartyBuyer)
	b.vanish()
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(finalizerBound - time.Second).Sub(b.hub.Now()))
	b.passes(2)
	if !controllerutil.ContainsFinalizer(b.lease, Finalizer) {
		t.Fatal("the finalizer is given up too early")
	}
	b.hub.Step(time.Second)
	b.pass()
	err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.lease), b.lease)
	if !apierrors.IsNotFound(err) {
		t.Errorf("the lease is still there: %v", err)
	}
}

// TestPodsThatNeverGoHoldUpNobodyForEver has a node that was lost with a pod on it.
func TestPodsThatNeverGoHoldUpNobodyForEver(t *testing.T) {
	b := metered(t)
	b.promise()
	b.until("the period is paid", func() bool { return b.paid() > 0 })
	b.deleteJob()
	b.until("the escrow is closed", func() bool {
		b.hub.Step(time.Minute)
		return b.lease.Status.Transaction.Purpose == boursev1.TransactionClose && b.lease.Status.Transaction.State == boursev1.TransactionLanded
	})
	b.pass()
	if over(b.lease) {
		t.Fatal("the lease is over with pods left")
	}
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(finalizerBound).Sub(b.hub.Now()))
	b.passes(2)
	if !over(b.lease) {
		t.Errorf("the lease waits for ever: %+v", b.lease.Status.Conditions)
	}
}

// TestPodsThatNobodyRemovesGoWithTheirNamespace has a KubeRay that is away, and with it whoever deletes the pods of what the lease ran.
func TestPodsThatNobodyRemovesGoWithTheirNamespace(t *testing.T) {
	b := metered(t)
	b.deleteJob()
	b.rest()
	there := func() bool {
		err := b.hub.Get(t.Context(), client.ObjectKey{Name: space(b.lease)}, &corev1.Namespace{})
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return err == nil
	}
	b.hub.Step(b.lease.Status.End.At.Add(clearWithin + grace(b.lease) - time.Second).Sub(b.hub.Now()))
	if b.rest(); !there() {
		t.Fatal("the pods had no time to end")
	}
	b.hub.Step(time.Second)
	if b.rest(); there() {
		t.Error("the pods run on, and nobody pays for them")
	}
	if usage := b.lease.Status.Usage; usage == nil || usage.Final != boursev1.UsageFinal {
		t.Errorf("the last record is not made: %+v", usage)
	}
}

// blind is a cluster whose pods cannot be listed.
type blind struct{ client.Client }

func (c blind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, pods := list.(*corev1.PodList); pods {
		return errors.New("no answer")
	}
	return c.Client.List(ctx, list, opts...)
}

// TestTheLastRecordIsMadeThoughItFailedOnce ends a lease in a pass that cannot see the pods.
func TestTheLastRecordIsMadeThoughItFailedOnce(t *testing.T) {
	b := metered(t)
	b.hub.Step(30 * time.Second)
	b.deleteJob()
	b.hub.Read(b.lease)
	r := b.controller()
	r.Local = blind{b.hub}
	if _, err := r.Reconcile(t.Context(), b.lease); err == nil {
		t.Fatal("a pass that saw nothing is told as done")
	}
	b.rest()
	usage := b.lease.Status.Usage
	if usage.Final != boursev1.UsageFinal || *usage.GPUMilliseconds != 90*8*1000 {
		t.Errorf("the last record is %+v, want ninety seconds of eight GPUs", usage)
	}
}

// TestHoldsNothingForAMarketThatIsGone removes the market while GPUs are held for a lease of it.
func TestHoldsNothingForAMarketThatIsGone(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	if err := b.hub.Delete(t.Context(), builders.Market()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(); err == nil {
		t.Error("a pass without the market's rules is told as done")
	}
	b.hub.Step(b.lease.Spec.AcceptBy.Sub(b.hub.Now()))
	b.pass()
	b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
}

// TestAChainThatRefusesForGoodHoldsUpNobody has a buyer that gave its token account away, so that no refund can reach it.
func TestAChainThatRefusesForGoodHoldsUpNobody(t *testing.T) {
	cases := map[string]func(*bench){
		"the refund": func(*bench) {},
		"the claim":  func(b *bench) { b.promise() },
	}
	for name, happens := range cases {
		t.Run(name, func(t *testing.T) {
			b := metered(t)
			b.chain.Program(builders.Wallet("program").PublicKey(), func(chain.Call, map[chain.Address]chain.Account) *chain.Failure {
				return &chain.Failure{Kind: "InstructionError", Instruction: 1, Detail: "Custom", Code: escrow.CodeParty}
			})
			happens(b)
			b.deleteJob()
			b.passes(2)
			b.vanish()
			b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(finalizerBound - time.Second).Sub(b.hub.Now()))
			b.passes(2)
			if over(b.lease) {
				t.Fatal("the money is given up too early")
			}
			b.hub.Step(time.Second)
			b.rest()
			b.want(boursev1.LeaseSettled, metav1.ConditionFalse, boursev1.ReasonTransactionFailed)
			b.want(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndJobDeleted)
			b.nothingLeft()
		})
	}
}

// lagging is a chain whose node does not know the newest blockhash yet.
type lagging struct{ Chain }

func (lagging) Simulate(context.Context, []byte) (chain.Simulation, error) {
	return chain.Simulation{Failure: &chain.Failure{Kind: "BlockhashNotFound", Instruction: chain.NoInstruction}}, nil
}

// TestANodeThatLagsGivesUpNothing claims a promise long after the deadline, from a node that lags.
func TestANodeThatLagsGivesUpNothing(t *testing.T) {
	b := metered(t)
	b.promise()
	b.deleteJob()
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(finalizerBound).Sub(b.hub.Now()))
	r := b.controller()
	r.Ledger = OnChain{Chain: lagging{b.chain}, Signer: builders.Wallet(builders.Supplier)}
	var err error
	for range 3 {
		b.hub.Read(b.lease)
		_, err = r.Reconcile(t.Context(), b.lease)
	}
	if b.hub.Read(b.lease); err == nil || over(b.lease) {
		t.Errorf("the promise is given up for a node's lag: %v", err)
	}
	b.until("it is paid all the same", func() bool { return b.paid() > 0 })
}

// forgetful is a chain whose node shows no account: it is far behind, and was asked by a process that has just begun.
type forgetful struct{ Chain }

func (forgetful) Accounts(_ context.Context, _ chain.Commitment, addresses ...chain.Address) ([]chain.Account, error) {
	accounts := make([]chain.Account, len(addresses))
	for i, address := range addresses {
		accounts[i].Address = address
	}
	return accounts, nil
}

// TestANodeThatHasNotSeenTheDepositSettlesNothing ends a lease that was funded and not used.
func TestANodeThatHasNotSeenTheDepositSettlesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.launched()
	b.deleteJob()
	b.vanish()
	r := b.controller()
	r.Ledger = OnChain{Chain: forgetful{b.chain}, Signer: b.wallet}
	var result reconcile.Result
	for range 4 {
		b.hub.Read(b.lease)
		var err error
		if result, err = r.Reconcile(t.Context(), b.lease); err != nil {
			t.Fatal(err)
		}
	}
	if result.RequeueAfter != pollDeposit {
		t.Errorf("the next pass is in %s, want %s", result.RequeueAfter, pollDeposit)
	}
	b.hub.Read(b.lease)
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonRefunding)
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
}

// TestAProgramThatDatesItsEndBackIsPaidFor has an image whose Ray says that the program ended when it began.
func TestAProgramThatDatesItsEndBackIsPaidFor(t *testing.T) {
	b := newBench(t, program)
	b.running()
	b.hub.Step(30 * time.Minute)
	object, _, err := b.controller().running(t.Context(), b.lease)
	if err != nil {
		t.Fatal(err)
	}
	if err := raytest.Finish(object, true, b.hub.Now()); err != nil {
		t.Fatal(err)
	}
	raytest.DateBack(object, b.hub.Now().Add(-30*time.Minute))
	b.hub.Edit(object)
	b.passes(2)
	b.wantEnd(boursev1.EndCompleted, boursev1.PartyBuyer)
	least := 8 * (29 * time.Minute).Milliseconds()
	if usage := b.lease.Status.Usage; usage == nil || number(usage.GPUMilliseconds) < least {
		t.Errorf("usage is %+v, want at least %d GPU-ms", usage, least)
	}
}
