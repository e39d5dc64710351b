// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"math"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
)

func (w *world) topUp(l lease, amount uint64) call {
	return call{w.program, metas(sign(w.buyer), write(l.address), write(l.vault), read(w.mint), write(tokens(w.buyer, w.mint)),
		read(solana.TokenProgramID)), le.AppendUint64([]byte{3}, amount)}
}

func (w *world) extend(l lease, deadline int64) call {
	return call{w.program, metas(sign(w.buyer), write(l.address)), le.AppendUint64([]byte{4}, uint64(deadline))}
}

func (w *world) disputeFor(l lease, gross uint64) call {
	return call{w.program, metas(sign(w.supplier), write(l.address)), le.AppendUint64([]byte{5}, gross)}
}

func (w *world) awardFor(l lease, gross uint64) call {
	return call{w.program, metas(sign(w.arbiter), write(l.address), write(l.vault), write(w.mint), write(tokens(w.supplier, w.mint)),
		write(tokens(w.treasury, w.mint)), read(solana.TokenProgramID)), le.AppendUint64([]byte{6}, gross)}
}

// judged opens a lease with arbitration: at most a fifth of the deposit, 1000 seconds after a dispute.
func (w *world) judged(name string, deposit uint64) lease {
	w.t.Helper()
	l := w.newLease(name, deposit)
	l.arbiterCap, l.disputeDelay, l.arbiter = 2000, 1000, w.arbiter
	w.must(w.buyer, w.open(l).build())
	return l
}

// paid returns what a lease's record says: deposit, paid, disputed.
func (w *world) paid(l lease) [3]uint64 {
	w.t.Helper()
	_, _, data := w.account(l.address)
	return [3]uint64{le.Uint64(data[200:]), le.Uint64(data[208:]), le.Uint64(data[248:])}
}

// adjust tops a lease up and extends it.
func (m *matrix) adjust() {
	m.t.Helper()
	l, other := m.judged("adjusted", 1_022_500), m.judged("not adjusted", 1_000_000)
	have := m.amount(tokens(m.buyer, m.mint))
	good := m.topUp(l, 102_250)
	with := func(name string, code, at int, account *solana.AccountMeta) {
		m.refuse("top up: "+name, custom(0, code), m.stranger, good.with(at, account).build())
	}
	with("buyer does not sign", 101, 0, read(m.buyer))
	with("by a stranger", 101, 0, sign(m.stranger))
	with("by the supplier", 101, 0, sign(m.supplier))
	with("lease of nobody", 102, 1, write(m.stranger))
	with("market as lease", 104, 1, write(m.market.address))
	with("lease read-only", 104, 1, read(l.address))
	with("into another vault", 103, 2, write(other.vault))
	with("into the buyer's own account", 103, 2, write(tokens(m.buyer, m.mint)))
	with("another mint", 109, 3, read(m.stranger))
	with("from the vault itself", 4, 4, write(l.vault))
	with("from a stranger's account", 4, 4, write(tokens(m.supplier, m.mint)))
	with("other Token program", 100, 5, read(m.stranger))
	m.refuse("top up by nothing", custom(0, 105), m.buyer, m.topUp(l, 0).build())
	m.refuse("top up beyond the largest number", custom(0, 105), m.buyer, m.topUp(l, math.MaxUint64-1_022_499).build())
	m.refuse("top up by more than there is", custom(0, 1), m.buyer, m.topUp(l, have+1).build())
	m.refuse("claim beyond the deposit", custom(1, 105), m.supplier, m.voucher(l, 1_100_000), m.world.claim(m.supplier, l, 1_100_000).build())
	m.accept("top up", m.buyer, good.build())
	if got, want := m.paid(l), [3]uint64{1_124_750, 0, 0}; got != want || m.amount(l.vault) != want[0] {
		m.t.Fatalf("deposit, paid, disputed: got %v, want %v", got, want)
	}
	m.accept("claim what was topped up", m.supplier, m.voucher(l, 1_100_000), m.world.claim(m.supplier, l, 1_100_000).build())

	longer := m.extend(l, l.deadline+hour)
	m.refuse("extend: buyer does not sign", custom(0, 101), m.stranger, longer.with(0, read(m.buyer)).build())
	m.refuse("extend: by the supplier", custom(0, 101), m.supplier, longer.with(0, sign(m.supplier)).build())
	m.refuse("extend: by the arbiter", custom(0, 101), m.arbiter, longer.with(0, sign(m.arbiter)).build())
	m.refuse("extend: market as lease", custom(0, 104), m.buyer, longer.with(1, write(m.market.address)).build())
	m.refuse("extend: buyer twice", custom(0, 102), m.buyer, longer.with(1, write(m.buyer)).build())
	m.refuse("extend: lease read-only", custom(0, 104), m.buyer, longer.with(1, read(l.address)).build())
	m.refuse("extend: by nothing", custom(0, 106), m.buyer, m.extend(l, l.deadline).build())
	m.refuse("extend: nearer", custom(0, 106), m.buyer, m.extend(l, l.deadline-1).build())
	m.refuse("extend: over two years", custom(0, 106), m.buyer, m.extend(l, m.in(731*day+300)).build())
	m.refuse("extend: for ever", custom(0, 106), m.buyer, m.extend(l, math.MaxInt64).build())
	m.accept("extend", m.buyer, longer.build())
	m.warp(hour + 600)
	m.refuse("close before the new deadline", custom(0, 106), m.stranger, m.world.close(m.stranger, l).build())
	m.refuse("extend into the past", custom(0, 106), m.buyer, m.extend(other, other.deadline+60).build())
	m.accept("close at the old deadline", m.stranger, m.world.close(m.stranger, other).build())
	m.accept("close", m.supplier, m.world.close(m.supplier, l).build())
	m.refuse("top up a closed lease", custom(0, 104), m.buyer, good.build())
	m.refuse("extend a closed lease", custom(0, 104), m.buyer, m.extend(l, l.deadline+2*hour).build())
}

// dispute tries every dispute that must not be.
func (m *matrix) dispute() {
	m.t.Helper()
	plain := m.newLease("plain", 1_000_000)
	m.accept("open without arbitration", m.buyer, m.world.open(plain).build())
	m.refuse("dispute without arbitration", custom(0, 112), m.supplier, m.disputeFor(plain, 500_000).build())
	m.accept("close it", m.supplier, m.world.close(m.supplier, plain).build())
	m.refuse("dispute after the end", custom(0, 104), m.supplier, m.disputeFor(plain, 500_000).build())

	m.lease = m.judged("disputed", 10_000_000)
	l := m.lease
	good := m.disputeFor(l, 3_000_000)
	m.accept("claim", m.supplier, m.voucher(l, 1_000_000), m.world.claim(m.supplier, l, 1_000_000).build())
	for name, k := range map[string]key{"buyer": m.buyer, "arbiter": m.arbiter, "stranger": m.stranger} {
		m.refuse("dispute by the "+name, custom(0, 101), k, good.with(0, sign(k)).build())
	}
	m.refuse("supplier does not sign", custom(0, 101), m.stranger, good.with(0, read(m.supplier)).build())
	m.refuse("supplier twice", custom(0, 102), m.supplier, good.with(1, write(m.supplier)).build())
	m.refuse("market as lease", custom(0, 104), m.supplier, good.with(1, write(m.market.address)).build())
	m.refuse("lease read-only", custom(0, 104), m.supplier, good.with(1, read(l.address)).build())
	m.refuse("dispute of what is paid", custom(0, 105), m.supplier, m.disputeFor(l, 1_000_000).build())
	m.refuse("dispute of more than the deposit", custom(0, 105), m.supplier, m.disputeFor(l, 9_800_000).build())
	m.refuse("dispute of the largest number", custom(0, 105), m.supplier, m.disputeFor(l, math.MaxUint64).build())
	m.refuse("award without a dispute", custom(0, 112), m.arbiter, m.awardFor(l, 2_000_000).build())
	m.accept("dispute", m.supplier, good.build())
	m.refuse("dispute again", custom(0, 112), m.supplier, m.disputeFor(l, 4_000_000).build())
	m.refuse("award at once", custom(0, 106), m.arbiter, m.awardFor(l, 2_000_000).build())
	m.warp(900)
	m.refuse("award before the delay is over", custom(0, 106), m.arbiter, m.awardFor(l, 2_000_000).build())
	m.warp(200)
}

// award lets the arbiter decide, and tries to take more than that.
func (m *matrix) award() {
	m.t.Helper()
	l := m.lease
	have := [2]uint64{m.amount(tokens(m.supplier, m.mint)), m.amount(tokens(m.treasury, m.mint))}
	supply := m.supply(m.mint)
	good := m.awardFor(l, 2_500_000)
	with := func(name string, code, at int, account *solana.AccountMeta) {
		m.refuse("award: "+name, custom(0, code), m.arbiter, good.with(at, account).build())
	}
	with("arbiter does not sign", 101, 0, read(m.stranger))
	for name, k := range map[string]key{"supplier": m.supplier, "buyer": m.buyer, "market's authority": m.market.authority} {
		m.refuse("award by the "+name, custom(0, 101), k, good.with(0, sign(k)).build())
	}
	with("market as lease", 104, 1, write(m.market.address))
	with("lease read-only", 104, 1, read(l.address))
	with("another vault", 103, 2, write(tokens(m.buyer, m.mint)))
	with("another mint", 109, 3, write(m.stranger))
	with("paid to the arbiter", 108, 4, write(tokens(m.stranger, m.mint)))
	with("paid to the vault", 108, 4, write(l.vault))
	with("fee to the supplier", 108, 5, write(tokens(m.supplier, m.mint)))
	with("other Token program", 100, 6, read(m.stranger))
	m.refuse("mint read-only although something burns", builtin(0, "PrivilegeEscalation"), m.arbiter, good.with(3, read(m.mint)).build())
	m.refuse("award of more than disputed", custom(0, 105), m.arbiter, m.awardFor(l, 3_000_001).build())
	m.refuse("award of what is paid", custom(0, 105), m.arbiter, m.awardFor(l, 1_000_000).build())
	// A fifth of the deposit reaches from the debit of 1022500 to 3022500.
	m.refuse("award beyond the cap", custom(0, 110), m.arbiter, m.awardFor(l, 2_960_000).build())
	m.accept("a voucher in between", m.supplier, m.voucher(l, 1_200_000), m.world.claim(m.supplier, l, 1_200_000).build())
	m.refuse("award of less than vouchers paid", custom(0, 105), m.arbiter, m.awardFor(l, 1_100_000).build())
	m.accept("freeze", m.admin, token.NewFreezeAccountInstruction(l.vault, m.mint, m.admin, nil).Build())
	m.refuse("award from a frozen vault", custom(0, 17), m.arbiter, good.build())
	m.accept("thaw", m.admin, token.NewThawAccountInstruction(l.vault, m.mint, m.admin, nil).Build())
	m.accept("award", m.arbiter, good.build())
	// From 1000000 to 2500000: fees 33750 and 3750, of 37500 burned 15000.
	got := [4]uint64{m.amount(l.vault), m.amount(tokens(m.supplier, m.mint)), m.amount(tokens(m.treasury, m.mint)), m.supply(m.mint)}
	want := [4]uint64{10_000_000 - 2_556_250, have[0] + 1_500_000 - 3_750, have[1] + 22_500, supply - 15_000}
	if got != want || m.paid(l) != [3]uint64{10_000_000, 2_500_000, 0} {
		m.t.Fatalf("after the award: got %v, want %v; record %v", got, want, m.paid(l))
	}
	m.refuse("award again", custom(0, 112), m.arbiter, m.awardFor(l, 2_600_000).build())
	m.refuse("dispute after an award", custom(0, 112), m.supplier, m.disputeFor(l, 4_000_000).build())
	m.refuse("a voucher held back", custom(1, 105), m.supplier, m.voucher(l, 2_000_000), m.world.claim(m.supplier, l, 2_000_000).build())
	m.accept("a later voucher", m.supplier, m.voucher(l, 2_500_001), m.world.claim(m.supplier, l, 2_500_001).build())
	m.accept("close", m.supplier, m.world.close(m.supplier, l).build())
	m.refuse("award after the end", custom(0, 104), m.arbiter, good.build())
}

// hold shows for how long a dispute keeps a refund, and that nothing is left of it afterwards.
func (m *matrix) hold() {
	m.t.Helper()
	held, ended := m.judged("held", 1_000_000), m.judged("ended", 1_000_000)
	m.warp(hour - 300)
	m.accept("dispute at the last moment", m.supplier, m.disputeFor(held, 500_000).build())
	m.accept("dispute of another", m.supplier, m.disputeFor(ended, 500_000).build())
	m.warp(400)
	m.refuse("dispute after the deadline", custom(0, 112), m.supplier, m.disputeFor(held, 500_000).build())
	for name, k := range map[string]key{"buyer": m.buyer, "stranger": m.stranger, "arbiter": m.arbiter} {
		m.refuse("closed by the "+name+" in a dispute", custom(0, 113), k, m.world.close(k, held).build())
	}
	m.accept("the supplier ends its dispute", m.supplier, m.world.close(m.supplier, ended).build())
	m.accept("the buyer tops up in a dispute", m.buyer, m.topUp(held, 1).build())
	m.warp(1400)
	m.refuse("still held", custom(0, 113), m.buyer, m.world.close(m.buyer, held).build())
	m.warp(300)
	m.refuse("award too late", custom(0, 106), m.arbiter, m.awardFor(held, 100_000).build())
	have := m.amount(tokens(m.buyer, m.mint))
	m.accept("held no longer", m.stranger, m.world.close(m.stranger, held).build())
	if got := m.amount(tokens(m.buyer, m.mint)); got != have+1_000_001 {
		m.t.Fatalf("the buyer got %d back", got-have)
	}

	late := m.judged("late dispute", 1_000_000)
	m.warp(hour + 300)
	m.refuse("dispute of an expired lease", custom(0, 106), m.supplier, m.disputeFor(late, 500_000).build())
	m.accept("close it", m.stranger, m.world.close(m.stranger, late).build())
}
