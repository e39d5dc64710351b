// SPDX-License-Identifier: Apache-2.0

package money

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// sums is what somebody has, or must have.
type sums struct{ supplier, treasury, burned money.Amount }

// check holds after every step: value is conserved per mint, nobody is paid twice, no lease costs more than was metered or deposited, and
// the parts of a job are funded together or not at all.
func (w *world) check() {
	held, left := ledger.Count(w.fake)
	total := map[chain.Address]money.Amount{}
	var has, must sums
	for _, h := range held {
		total[h.Mint] += h.Amount
		switch h.Owner {
		case w.supplier:
			has.supplier += h.Amount
		case w.treasury:
			has.treasury += h.Amount
		}
	}
	for mint, amount := range left {
		has.burned += supply - amount
		if total[mint] != amount {
			w.wrong("drift: accounts of %s hold %s of %s", mint, total[mint], amount)
		}
	}
	w.checkParts()
	for _, d := range w.deals {
		split := w.checkDeal(d)
		must.supplier += split.Supplier
		must.treasury += split.Treasury
		must.burned += split.Burn
	}
	if has != must {
		kind := "unpaid"
		if has.supplier > must.supplier || has.treasury > must.treasury || has.burned > must.burned {
			kind = "double pay"
		}
		w.wrong("%s: paid %+v for claims of %+v", kind, has, must)
	}
}

// checkParts looks at which parts have an escrow, open or closed.
func (w *world) checkParts() {
	parts, opened := 0, 0
	for _, d := range w.deals {
		if !d.part {
			continue
		}
		parts++
		if _, there := w.account(d); there {
			opened++
		}
	}
	if opened != 0 && opened != parts {
		w.wrong("torn: %d of %d parts are funded", opened, parts)
	}
}

// record is the lease's account now.
func (w *world) account(d *deal) (ledger.Record, bool) {
	var record ledger.Record
	var found bool
	w.fake.Walk(func(account chain.Account) {
		if account.Address == d.address {
			record, found = ledger.Read(account)
		}
	})
	return record, found
}

func (w *world) checkDeal(d *deal) money.Split {
	record, opened := w.account(d)
	if !opened {
		return money.Split{}
	}
	split, err := record.Fees.Split(record.Paid)
	w.must(err)
	switch {
	case d.wrong:
		w.wrong("overpaid: a deposit for a lease whose mint is not the market's")
	case record.Paid > d.mostUsed:
		w.wrong("overpaid: %s for a use of %s", record.Paid, d.mostUsed)
	case split.Debit > d.terms.Deposit || record.Deposit != d.terms.Deposit:
		w.wrong("overpaid: %s of a deposit of %s", split.Debit, d.terms.Deposit)
	}
	return split
}

// over says whether a lease has come to its end in every respect, and if not, why.
func (w *world) over(d *deal) (bool, string) {
	lease := w.lease(d)
	record, opened := w.account(d)
	switch {
	case !kube.IsTrue(lease, boursev1.Succeeded) && !kube.IsFalse(lease, boursev1.Succeeded):
		return false, "unpaid: the lease does not end"
	case opened && !record.Closed:
		return false, "unpaid: the deposit stays in the escrow"
	}
	voucher := &boursev1.Voucher{}
	if w.live.Get(w.ctx, client.ObjectKey{Namespace: builders.Buyer, Name: d.key.Name}, voucher) == nil {
		for _, tx := range []*boursev1.Transaction{voucher.Spec.Deposit, voucher.Spec.Refund} {
			if tx != nil && tx.State == boursev1.TransactionSigned {
				return false, "unpaid: a transaction stays on its way"
			}
		}
	}
	if tx := lease.Status.Transaction; tx != nil && tx.State == boursev1.TransactionSigned {
		return false, "unpaid: a claim stays on its way"
	}
	return w.recorded(d, lease, record, opened)
}

// recorded says whether the settlements of a lease add up to what its account says.
func (w *world) recorded(d *deal, lease *boursev1.GPULease, record ledger.Record, opened bool) (bool, string) {
	var list boursev1.SettlementList
	w.must(w.live.List(w.ctx, &list, client.InNamespace(boursev1.PublicNamespace), client.MatchingFields{"settlement.lease": lease.Namespace + "/" + lease.Name}))
	var told money.Split
	refunds := 0
	for i := range list.Items {
		spec := &list.Items[i].Spec
		told.Supplier += amount(spec.SupplierPaid)
		told.Treasury += amount(spec.TreasuryPaid)
		told.Burn += amount(spec.Burned)
		told.Debit += amount(spec.Debit)
		if spec.Kind == boursev1.SettlementRefund {
			refunds++
		}
		if !kube.IsTrue(&list.Items[i], boursev1.Succeeded) {
			return false, "drift: a settlement is not confirmed"
		}
	}
	split, err := d.terms.Fees.Split(record.Paid)
	w.must(err)
	split.BuyerFee, split.SupplierFee = 0, 0
	if opened && (told != split || refunds != 1) {
		return false, "drift: the settlements do not add up to the chain"
	}
	return true, ""
}

func (w *world) lease(d *deal) *boursev1.GPULease {
	lease := &boursev1.GPULease{}
	w.must(w.live.Get(w.ctx, d.key, lease))
	return lease
}

func amount(units *int64) money.Amount {
	if units == nil {
		return 0
	}
	return money.Amount(*units)
}

// settled holds in the end: what was metered is paid. A hub that was restored may have forgotten the end of a lease that was paid.
func (w *world) settled(d *deal) {
	lease := w.lease(d)
	record, opened := w.account(d)
	if !opened || lease.Status.Usage == nil {
		return
	}
	w.funded++
	if d.part {
		w.together++
	}
	used := amount(lease.Status.Usage.Gross)
	if record.Paid < used || record.Paid > used && w.profile.rate[restored] == 0 {
		w.wrong("unpaid: %s for a use of %s", record.Paid, used)
	}
}

// patience is how long after the faults, or after the lease's end if that is later, everything must be done: a queue that has failed
// often looks again after a thousand seconds at the latest, and then a few blockhashes' lives are enough.
const patience = 1000*time.Second + 8*lifetime

// healthy is since when nothing but the operator's own work kept the lease from being over.
func (w *world) healthy(d *deal) time.Time {
	since := w.calmAt
	lease := w.lease(d)
	if end := lease.Status.End; end != nil && end.At.After(since) {
		since = end.At.Time
	}
	voucher := &boursev1.Voucher{}
	buyers := w.live.Get(w.ctx, client.ObjectKey{Namespace: builders.Buyer, Name: d.key.Name}, voucher) == nil && voucher.Spec.Refund != nil
	if record, opened := w.account(d); buyers || opened && !record.Closed && kube.IsTrue(lease, boursev1.LeaseSettled) {
		since = lease.Spec.Escrow.Deadline.Add(2 * time.Minute) // only then may the buyer close it
	}
	return since
}
