// SPDX-License-Identifier: Apache-2.0

package money

import (
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/sim/apiserver"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// event is something that happens at a time, whatever the operator does.
type event struct {
	at time.Time
	do func()
}

// later puts something on the agenda.
func (w *world) later(in time.Duration, do func()) {
	w.agenda = append(w.agenda, event{at: w.now.Add(in), do: do})
}

// surroundings does what is on the agenda, and plays scheduler, kubelet and KubeRay for what was written since.
func (w *world) surroundings() {
	var due, rest []event
	for _, e := range w.agenda {
		if e.at.After(w.now) {
			rest = append(rest, e)
		} else {
			due = append(due, e)
		}
	}
	w.agenda = rest
	for _, e := range due {
		e.do()
	}
	w.eye.CatchUp(w.eye.Behind(), w.see)
	w.strangers()
}

// see answers one change as a cluster does, and keeps the most that was ever metered.
func (w *world) see(obj client.Object) {
	switch of := obj.(type) {
	case *corev1.Pod:
		if of.Spec.NodeName == "" {
			w.later(time.Second, func() { w.place(client.ObjectKeyFromObject(of)) })
		}
	case *boursev1.GPULease:
		for _, d := range w.deals {
			if d.key == client.ObjectKeyFromObject(of) && of.Status.Usage != nil {
				d.mostUsed = max(d.mostUsed, money.Amount(*of.Status.Usage.Gross))
			}
			if d.key == client.ObjectKeyFromObject(of) && of.Status.Paid != nil && amount(of.Status.Paid) > w.final(d).Paid {
				w.wrong("drift: the lease tells of %d paid, and %s are final", *of.Status.Paid, w.final(d).Paid)
			}
		}
	case *boursev1.Voucher:
		for _, d := range w.deals {
			deposit := of.Spec.Deposit
			if d.key.Name == of.Name && deposit != nil && deposit.State == boursev1.TransactionLanded && w.final(d).Deposit == 0 {
				w.wrong("drift: the voucher tells of a deposit that is not final")
			}
		}
	default:
		if reflect.TypeOf(obj).Elem().Name() == "RayCluster" {
			w.later(time.Second, func() { w.kuberay(of) })
		}
	}
}

// final is the lease's account as no fork can change it.
func (w *world) final(d *deal) ledger.Record {
	w.next = chaintest.Fault{}
	accounts, err := w.fake.Accounts(w.ctx, chain.Finalized, d.address)
	w.must(err)
	record, _ := ledger.Read(accounts[0])
	return record
}

// place gives a pod its node.
func (w *world) place(key client.ObjectKey) {
	pod := &corev1.Pod{}
	if w.live.Get(w.ctx, key, pod) != nil || pod.Spec.NodeName != "" {
		return
	}
	pod.Spec.NodeName = "n1"
	w.must(w.live.Update(w.ctx, pod))
}

// kuberay makes the pods of a cluster that is there and removes those of one that is not.
func (w *world) kuberay(cluster client.Object) {
	pods, err := raytest.Pods(cluster, w.now)
	w.must(err)
	there := w.live.Get(w.ctx, client.ObjectKeyFromObject(cluster), copyOf(cluster)) == nil
	for _, pod := range pods {
		found := w.live.Get(w.ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{}) == nil
		switch {
		case there && !found:
			pod.Spec.NodeName = "n1"
			w.must(w.live.Create(w.ctx, pod))
			w.later(2*time.Second, func() { w.ready(client.ObjectKeyFromObject(pod)) })
		case !there && found:
			w.must(w.live.Delete(w.ctx, pod))
		}
	}
}

func (w *world) ready(key client.ObjectKey) {
	pod := &corev1.Pod{}
	if w.live.Get(w.ctx, key, pod) != nil {
		return
	}
	raytest.SetReady(pod, true, w.now)
	w.must(w.live.Status().Update(w.ctx, pod))
}

func copyOf(obj client.Object) client.Object {
	return obj.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy has the type of its original
}

// misfortunes puts on the agenda what strikes once in a schedule.
func (w *world) misfortunes() {
	at := func() time.Duration {
		return time.Duration(w.random.Int64N(int64(w.profile.until))).Truncate(time.Second)
	}
	has := func(f fault) bool { return w.one(w.profile.rate[f]) }
	if has(restored) {
		first, second := at(), at()
		w.later(min(first, second), func() { w.backup = w.server.Backup() })
		w.later(max(first, second)+time.Second, w.restore)
	}
	if has(deleted) {
		w.later(at(), w.deleteVoucher)
	}
	if has(frozen) {
		w.later(at(), func() { w.freeze(true) })
	}
	if has(outOfGas) {
		w.later(at(), func() {
			w.count(outOfGas)
			w.fake.Fund(w.thirsty(), 4_000)
		})
	}
	if has(prefunded) {
		w.count(prefunded)
		for _, d := range w.deals {
			w.fake.Fund(d.address, 1_000_000)
			w.fake.Fund(d.vault, 1)
		}
	}
}

// restore puts an old backup of the hub in place. The supplier's own cluster keeps what it has.
func (w *world) restore() {
	if w.backup == nil || w.calm {
		return
	}
	w.server.Restore(w.backup, func(key apiserver.Key) bool {
		name := key.Kind.Elem().Name()
		return name == "Pod" || name == "Node" || name == "Namespace" || name == "RayCluster"
	})
	w.count(restored)
	w.note("etcd restored")
	w.eye = w.server.NewClient(nil)
	for _, p := range w.procs {
		p.restart()
	}
}

func (w *world) deleteVoucher() {
	d := w.deals[w.random.IntN(len(w.deals))]
	voucher := &boursev1.Voucher{}
	voucher.Namespace, voucher.Name = builders.Buyer, d.key.Name
	if !w.calm && w.live.Delete(w.ctx, voucher) == nil {
		w.count(deleted)
		w.note("voucher deleted")
	}
}

// freeze lets the issuer freeze somebody's account, or thaw it.
func (w *world) freeze(on bool) {
	d := w.deals[0]
	address := d.vault
	if who := []chain.Address{d.terms.Supplier, d.terms.Treasury}; w.profile.frozenOf < len(who) {
		var err error
		address, err = chain.TokenAddress(who[w.profile.frozenOf], d.terms.Mint)
		w.must(err)
	}
	if ledger.Freeze(w.fake, address, on) && on {
		w.count(frozen)
	}
	w.note("frozen %t", on)
}

// thirsty is the wallet that is out of gas.
func (w *world) thirsty() chain.Address {
	return []chain.Address{w.buyer, w.supplier}[w.profile.gasOf]
}

// strangers do what anybody may: send dust, send old bytes again, and submit vouchers.
func (w *world) strangers() {
	d := w.deals[w.random.IntN(len(w.deals))]
	if !w.calm && w.one(w.profile.rate[dust]) {
		from, err := chain.TokenAddress(d.terms.Buyer, d.terms.Mint)
		w.must(err)
		if ledger.Dust(w.fake, from, d.vault, 1+money.Amount(w.random.IntN(5))) {
			w.count(dust)
		}
	}
	if !w.calm && w.one(w.profile.rate[stranger]) {
		w.resend()
		w.submit(d)
	}
}

// resend sends something old again.
func (w *world) resend() {
	if len(w.sent) > 0 {
		w.count(stranger)
		w.must(w.fake.Send(w.ctx, w.sent[w.random.IntN(len(w.sent))]))
	}
}

// submit claims the newest promise of a lease from a stranger's wallet.
func (w *world) submit(d *deal) {
	voucher := &boursev1.Voucher{}
	if w.live.Get(w.ctx, client.ObjectKey{Namespace: builders.Buyer, Name: d.key.Name}, voucher) != nil || voucher.Spec.Gross == nil {
		return
	}
	signature, err := chain.ParseSignature(string(voucher.Spec.Signature))
	w.must(err)
	who := builders.Wallet("stranger")
	instructions, err := escrow.Claim(d.terms, who.PublicKey(), money.Amount(*voucher.Spec.Gross), signature)
	w.must(err)
	if record, err := outbox.Prepare(w.ctx, w.fake, who, "Claim", instructions, 1); err == nil {
		if _, err := outbox.Drive(w.ctx, w.fake, record); err == nil {
			w.note("a stranger claims")
		}
	}
}

// stop ends all faults.
func (w *world) stop() {
	w.calm = true
	w.note("calm")
	if w.profile.rate[frozen] > 0 {
		w.freeze(false)
	}
	w.fake.Fund(w.thirsty(), lamports)
	w.calmAt = w.now
}
