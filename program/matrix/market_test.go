// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"slices"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
)

// market is what a configuration says.
type market struct {
	authority, mint, address             key
	bump                                 uint8
	delay                                uint32
	treasury, arbiter                    key
	buyerFee, supplierFee, cap           uint16
	maxSlash, maxDelegation, reserved    uint16
	disputeDelay, window, hold, cooldown uint32
}

// terms are the 92 bytes that hold what may change.
func (m market) terms() []byte {
	b := append(slices.Clone(m.treasury[:]), m.arbiter[:]...)
	for _, bps := range []uint16{m.buyerFee, m.supplierFee, m.cap, m.maxSlash, m.maxDelegation, m.reserved} {
		b = le.AppendUint16(b, bps)
	}
	for _, seconds := range []uint32{m.disputeDelay, m.window, m.hold, m.cooldown} {
		b = le.AppendUint32(b, seconds)
	}
	return b
}

// marketOf names the configuration of an authority.
func (w *world) marketOf(authority key) market {
	w.t.Helper()
	m := market{
		authority: authority, mint: w.mint, delay: 2 * hour, treasury: w.treasury, arbiter: w.arbiter,
		buyerFee: 225, supplierFee: 100, cap: 2000, maxSlash: 1000, maxDelegation: 10_000,
		disputeDelay: 600, window: day, hold: 2 * day, cooldown: 14 * day,
	}
	var err error
	if m.address, m.bump, err = solana.FindProgramAddress([][]byte{[]byte("config"), authority[:]}, w.program); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// newMarket creates a configuration whose address has the bump 255, so that finding it always costs the same.
func (w *world) newMarket() market {
	w.t.Helper()
	m := w.marketOf(w.newKey())
	for m.bump != 255 {
		m = w.marketOf(w.newKey())
	}
	w.must(w.admin, system.NewTransferInstruction(solana.LAMPORTS_PER_SOL, w.admin, m.authority).Build())
	w.must(m.authority, w.createMarket(m).build())
	return m
}

func (w *world) createMarket(m market) call {
	data := le.AppendUint32([]byte{7}, m.delay)
	data = append(append(data, m.terms()...), m.bump)
	return call{w.program, metas(sign(m.authority).WRITE(), write(m.address), read(m.mint), read(solana.SystemProgramID)), data}
}

func (w *world) propose(m market) call {
	return call{w.program, metas(sign(m.authority), write(m.address)), append([]byte{8}, m.terms()...)}
}

func (w *world) apply(m market) call {
	return call{w.program, metas(write(m.address)), []byte{9}}
}

// refuseMarkets tries everything that a configuration must not be or say.
func (m *matrix) refuseMarkets() {
	m.t.Helper()
	mine := m.marketOf(m.stranger)
	with := func(name string, code int, change func(*market)) {
		bad := mine
		change(&bad)
		m.refuse("create: "+name, custom(0, code), m.stranger, m.createMarket(bad).build())
	}
	terms := func(name string, code int, change func(*market)) {
		with(name, code, change)
		bad := m.market
		change(&bad)
		m.refuse("propose: "+name, custom(0, code), m.market.authority, m.world.propose(bad).build())
	}
	terms("no treasury", 108, func(m *market) { m.treasury = key{} })
	terms("a cap for no arbiter", 108, func(m *market) { m.arbiter = key{} })
	terms("buyer's fee over 10 %", 105, func(m *market) { m.buyerFee = 1001 })
	terms("supplier's fee over 10 %", 105, func(m *market) { m.supplierFee = 1001 })
	terms("arbiter's cap over a half", 105, func(m *market) { m.cap = 5001 })
	terms("slash of more than all", 105, func(m *market) { m.maxSlash = 10_001 })
	terms("delegation of more than a half", 105, func(m *market) { m.maxDelegation = 10_001 })
	terms("reserved bytes", 105, func(m *market) { m.reserved = 1 })
	terms("dispute delay over 30 days", 106, func(m *market) { m.disputeDelay = 30*day + 1 })
	terms("slash window over 30 days", 106, func(m *market) { m.window = 30*day + 1 })
	terms("slash hold over 30 days", 106, func(m *market) { m.hold = 30*day + 1 })
	terms("slash window of less than an hour", 106, func(m *market) { m.window = hour - 1 })
	terms("slash hold of less than an hour", 106, func(m *market) { m.hold = hour - 1 })
	terms("cooldown over 90 days", 106, func(m *market) { m.cooldown = 90*day + 1 })
	with("no time lock", 106, func(m *market) { m.delay = 0 })
	with("short time lock", 106, func(m *market) { m.delay = hour - 1 })
	with("time lock over a year", 106, func(m *market) { m.delay = 365*day + 1 })
	with("wrong bump", 103, func(m *market) { m.bump-- })
	with("mint of nobody", 109, func(n *market) { n.mint = m.buyer })
	with("mint is a token account", 109, func(n *market) { n.mint = tokens(m.buyer, m.mint) })

	good := m.createMarket(mine)
	m.refuse("authority does not sign", custom(0, 101), m.buyer, good.with(0, write(m.stranger)).build())
	m.refuse("somebody in front of the authority", custom(0, 103), m.buyer, good.with(0, sign(m.buyer).WRITE()).build())
	m.refuse("other System program", custom(0, 100), m.stranger, good.with(3, read(solana.TokenProgramID)).build())
	m.refuse("short", custom(0, 100), m.stranger, call{m.program, good.accounts, good.data[:97]}.build())
	m.refuse("long", custom(0, 100), m.stranger, call{m.program, good.accounts, append(good.data[:98:98], 0)}.build())
	m.refuse("a second time", custom(0, 104), m.market.authority, m.createMarket(m.market).build())
	m.accept("a griefer sends lamports", m.buyer, system.NewTransferInstruction(890_880, m.buyer, mine.address).Build())
	mine.treasury, mine.arbiter = m.stranger, m.stranger
	m.accept("a market of a stranger", m.stranger, m.createMarket(mine).build())
	m.refuse("proposal for another's market", custom(0, 101), m.stranger, m.world.propose(m.market).with(0, sign(m.stranger)).build())
	m.refuse("proposal that nobody signs", custom(0, 101), m.stranger, m.world.propose(m.market).with(0, read(m.market.authority)).build())
	m.refuse("proposal to a wallet", custom(0, 102), m.stranger, m.world.propose(mine).with(1, write(m.buyer)).build())
	m.refuse("proposal to a mint", custom(0, 102), m.stranger, m.world.propose(mine).with(1, write(m.mint)).build())
	m.refuse("authority as its own market", custom(0, 102), m.stranger, m.world.propose(mine).with(1, write(m.stranger)).build())
	m.refuse("market read-only", custom(0, 104), m.stranger, m.world.propose(mine).with(1, read(mine.address)).build())
}

// record compares the configuration on the chain.
func (m *matrix) record(want market, changeAt int64, pending market) {
	m.t.Helper()
	owner, lamports, data := m.account(want.address)
	if owner != m.program || lamports != rent(272) {
		m.t.Fatalf("configuration: owner %s, %d lamports", owner, lamports)
	}
	b := append([]byte("bourse2\x10"), want.authority[:]...)
	b = append(b, want.mint[:]...)
	b = le.AppendUint64(b, uint64(changeAt))
	b = append(le.AppendUint32(b, want.delay), decimals, want.bump, 2, 0)
	b = append(append(b, want.terms()...), pending.terms()...)
	if string(b) != string(data) {
		m.t.Fatalf("configuration:\ngot  %x\nwant %x", data, b)
	}
}

// changeMarket shows the time lock, and that a lease cannot be opened with terms that its buyer did not sign.
func (m *matrix) changeMarket() {
	m.t.Helper()
	authority, old := m.market.authority, m.market
	m.record(old, 0, old)
	m.refuse("nothing is pending", custom(0, 104), m.stranger, m.world.apply(old).build())
	changed := old
	changed.treasury, changed.arbiter, changed.buyerFee = m.stranger, m.stranger, 1000
	m.accept("propose", authority, m.world.propose(changed).build())
	_, _, data := m.account(old.address)
	changeAt := int64(le.Uint64(data[72:]))
	if now := m.in(0); changeAt < now+2*hour-300 || changeAt > now+2*hour+300 {
		m.t.Fatalf("the change is due at %d, now is %d", changeAt, now)
	}
	m.record(old, changeAt, changed)
	m.refuse("too early", custom(0, 106), m.stranger, m.world.apply(old).build())
	m.warp(hour)
	m.refuse("still too early", custom(0, 106), authority, m.world.apply(old).build())
	changed.maxSlash = 1
	m.accept("another proposal", authority, m.world.propose(changed).build())
	m.warp(hour + 600)
	m.refuse("the clock started anew", custom(0, 106), m.stranger, m.world.apply(old).build())
	m.warp(hour)
	l := m.newLease("overtaken", 1_000_000)
	m.refuse("applied in front of an opening", custom(1, 108), m.buyer, m.world.apply(old).build(), m.world.open(l).build())
	m.accept("cancel", authority, m.world.propose(old).build())
	m.record(old, 0, old)
	m.refuse("cancelled", custom(0, 104), m.stranger, m.world.apply(old).build())
	m.accept("propose again", authority, m.world.propose(changed).build())
	m.warp(2*hour + 60)
	m.refuse("a market of nobody", custom(0, 102), m.stranger, m.world.apply(old).with(0, write(m.buyer)).build())
	m.refuse("read-only", custom(0, 104), m.stranger, m.world.apply(old).with(0, read(old.address)).build())
	m.accept("anybody applies", m.stranger, m.world.apply(old).build())
	m.record(changed, 0, changed)
	l = m.newLease("overtaken", 1_000_000)
	m.refuse("old treasury", custom(0, 108), m.buyer, m.world.open(l).build())
	m.accept("propose the first terms", authority, m.world.propose(old).build())
	m.warp(2*hour + 60)
	m.accept("apply them", m.stranger, m.world.apply(old).build())
	m.record(old, 0, old)
}

// refuseMarketTerms opens leases that the market does not allow.
func (m *matrix) refuseMarketTerms() {
	m.t.Helper()
	judged := func(change func(*lease)) lease {
		l := m.newLease("judged", 1_000_000)
		l.arbiterCap, l.disputeDelay, l.arbiter = 2000, 600, m.arbiter
		if change != nil {
			change(&l)
		}
		return l
	}
	with := func(name string, code int, change func(*lease)) {
		m.refuse(name, custom(0, code), m.buyer, m.world.open(judged(change)).build())
	}
	with("buyer's fee over the market's", 110, func(l *lease) { l.buyerFee = 226 })
	with("supplier's fee over the market's", 110, func(l *lease) { l.supplierFee = 101 })
	with("arbiter's cap over the market's", 110, func(l *lease) { l.arbiterCap = 2001 })
	with("delay under the market's", 106, func(l *lease) { l.disputeDelay = 599 })
	with("delay over 30 days", 106, func(l *lease) { l.disputeDelay = 30*day + 1 })
	with("delay without arbitration", 106, func(l *lease) { l.arbiterCap, l.arbiter = 0, key{} })
	with("an arbiter without arbitration", 108, func(l *lease) { l.arbiterCap, l.disputeDelay = 0, 0 })
	with("another arbiter", 108, func(l *lease) { l.arbiter = m.stranger })
	with("the supplier as arbiter", 108, func(l *lease) { l.arbiter = m.supplier })
	with("arbitration without arbiter", 108, func(l *lease) { l.arbiter = key{} })
	with("deadline over two years", 106, func(l *lease) { l.deadline = m.in(731*day + 300) })
	good := m.world.open(judged(nil))
	m.refuse("another treasury", custom(0, 108), m.buyer, good.with(6, read(m.stranger)).build())
	m.refuse("the market of a stranger", custom(0, 108), m.buyer, good.with(8, read(m.marketOf(m.stranger).address)).build())
	m.refuse("a wallet as market", custom(0, 102), m.buyer, good.with(8, read(m.stranger)).build())
	m.refuse("a mint as market", custom(0, 102), m.buyer, good.with(8, read(m.mint)).build())
	m.refuse("the lease itself as market", custom(0, 102), m.buyer, good.with(8, write(judged(nil).address)).build())
}
