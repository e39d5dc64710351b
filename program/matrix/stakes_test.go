// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// TestStakes walks through everything that the program does and refuses about stakes and rewards.
func TestStakes(t *testing.T) {
	for name, elf := range programs(t) {
		t.Run(name, func(t *testing.T) {
			m := &stakes{matrix: &matrix{world: newWorld(t, elf)}}
			m.pool = m.poolOf(m.supplier)
			m.accept("give the owner and a stranger tokens", m.buyer, m.move(m.buyer, m.supplier, 100_000_000), m.move(m.buyer, m.stranger, 100_000_000))
			m.create()
			m.bonds()
			m.unbonds()
			m.withdraws()
			m.proposes()
			m.appeals()
			m.executes()
			m.drops()
			m.caps()
			m.wrappedSOL()
			m.createRewards()
			m.posts()
			m.claims()
			m.attackClaims()
			t.Logf("%d steps", m.steps)
			if m.steps < 200 {
				t.Errorf("only %d steps were made", m.steps)
			}
		})
	}
}

// stakes is the walk: the supplier owns the pool and the buyer delegates to it.
type stakes struct {
	*matrix
	pool pool
}

var evidence = [32]byte{0: 0xee, 31: 0x11}

// worth compares the pool's total, shares and vault, and the mint's supply.
func (m *stakes) worth(total, shares, vault, burned uint64) {
	m.t.Helper()
	_, _, data := m.account(m.pool.address)
	got := [4]uint64{le.Uint64(data[104:]), le.Uint64(data[112:]), m.amount(m.pool.vault), wealth - m.supply(m.mint)}
	if want := [4]uint64{total, shares, vault, burned}; got != want {
		m.t.Fatalf("total, shares, vault, burned: got %v, want %v", got, want)
	}
}

// record compares an account of the program; where the chain's time is in it, at is the offset.
func (m *stakes) record(address key, times []int, want []byte) []byte {
	m.t.Helper()
	owner, lamports, data := m.account(address)
	if owner != m.program || lamports != rent(uint64(len(want))) || len(data) != len(want) {
		m.t.Fatalf("account: owner %s, %d lamports, %d bytes, want %d", owner, lamports, len(data), len(want))
	}
	masked := append([]byte{}, data...)
	for _, at := range times {
		copy(masked[at:at+8], want[at:at+8])
	}
	if string(masked) != string(want) {
		m.t.Fatalf("account:\ngot  %x\nwant %x", data, want)
	}
	return data
}

func (m *stakes) create() {
	m.t.Helper()
	p, owner := m.pool, m.pool.owner
	good := m.createPool(p)
	other := m.newMint(decimals)
	m.refuse("owner does not sign", custom(0, 101), m.stranger, good.with(0, write(owner)).build())
	m.refuse("a wallet as market", custom(0, 102), owner, good.with(1, read(m.stranger)).build())
	m.refuse("a mint as market", custom(0, 102), owner, good.with(1, read(m.mint)).build())
	m.refuse("pool elsewhere", custom(0, 103), owner, good.with(2, write(m.newKey())).build())
	m.refuse("vault elsewhere", custom(0, 103), owner, good.with(3, write(m.newKey())).build())
	m.refuse("pool of somebody else", custom(0, 103), m.stranger, good.with(0, sign(m.stranger).WRITE()).build())
	m.refuse("another mint", custom(0, 109), owner, good.with(4, read(other)).build())
	m.refuse("other System program", custom(0, 100), owner, good.with(5, read(m.stranger)).build())
	m.refuse("other Token program", custom(0, 100), owner, good.with(6, read(solana.Token2022ProgramID)).build())
	m.refuse("wrong bump", custom(0, 103), owner, call{m.program, good.accounts, []byte{16, p.bump - 1, p.vaultBump}}.build())
	m.refuse("wrong vault bump", custom(0, 103), owner, call{m.program, good.accounts, []byte{16, p.bump, p.vaultBump - 1}}.build())
	m.refuse("short", custom(0, 100), owner, call{m.program, good.accounts, good.data[:2]}.build())
	m.refuse("long", custom(0, 100), owner, call{m.program, good.accounts, append(good.data[:3:3], 0)}.build())
	m.accept("a griefer sends lamports to both addresses", m.stranger,
		system.NewTransferInstruction(890_880, m.stranger, p.address).Build(), system.NewTransferInstruction(890_880, m.stranger, p.vault).Build())
	m.accept("create", owner, good.build())
	m.refuse("create again", custom(0, 104), owner, good.build())
	want := []byte("bourse2\x20")
	for _, k := range []key{m.market.address, owner, m.mint} {
		want = append(want, k[:]...)
	}
	want = append(want, make([]byte, 174)...)
	want = append(want, decimals, p.bump, p.vaultBump, 2, 0, 0, 0, 0, 0, 0)
	m.record(p.address, nil, want)
}

func (m *stakes) bonds() {
	m.t.Helper()
	p := m.pool
	m.refuse("delegate before there is own stake", custom(0, 110), m.buyer, m.bond(p, m.buyer, 1).build())
	good := m.bond(p, p.owner, 1_000_000)
	m.refuse("staker does not sign", custom(0, 101), m.stranger, good.with(0, write(p.owner)).build())
	m.refuse("a wallet as market", custom(0, 102), p.owner, good.with(1, read(m.stranger)).build())
	m.refuse("a wallet as pool", custom(0, 102), p.owner, good.with(2, write(m.stranger)).build())
	m.refuse("market as pool", custom(0, 104), p.owner, good.with(2, write(m.market.address)).build())
	m.refuse("pool read-only", custom(0, 104), p.owner, good.with(2, read(p.address)).build())
	position, _ := m.position(p, m.buyer)
	m.refuse("position of somebody else", custom(0, 103), p.owner, good.with(3, write(position)).build())
	m.refuse("pool as position", custom(0, 104), p.owner, good.with(3, write(p.address)).build())
	m.refuse("own tokens as vault", custom(0, 103), p.owner, good.with(4, write(tokens(p.owner, m.mint))).build())
	m.refuse("another mint", custom(0, 109), p.owner, good.with(5, read(m.newMint(decimals))).build())
	m.refuse("pays from a stranger's account", custom(0, 4), p.owner, good.with(6, write(tokens(m.stranger, m.mint))).build())
	m.refuse("other System program", custom(0, 100), p.owner, good.with(7, read(m.stranger)).build())
	m.refuse("other Token program", custom(0, 100), p.owner, good.with(8, read(m.stranger)).build())
	m.refuse("nothing", custom(0, 105), p.owner, m.bond(p, p.owner, 0).build())
	m.refuse("more than there is", custom(0, 1), p.owner, m.bond(p, p.owner, wealth).build())
	bump := append([]byte{}, good.data...)
	bump[9]--
	m.refuse("wrong bump", custom(0, 103), p.owner, call{m.program, good.accounts, bump}.build())
	m.accept("own stake", p.owner, good.build())
	m.refuse("pays from the vault", custom(0, 4), p.owner, good.with(6, write(p.vault)).build())
	m.refuse("more than the owner", custom(0, 110), m.buyer, m.bond(p, m.buyer, 1_000_001).build())
	m.accept("delegate", m.buyer, m.bond(p, m.buyer, 400_000).build())
	m.refuse("more than the owner in all", custom(0, 110), m.stranger, m.bond(p, m.stranger, 600_001).build())
	m.accept("delegate more", m.buyer, m.bond(p, m.buyer, 100_000).build())
	m.accept("tokens sent to the vault", m.buyer, token.NewTransferCheckedInstruction(77, decimals, tokens(m.buyer, m.mint), m.mint, p.vault, m.buyer, nil).Build())
	m.worth(1_500_000, 1_500_000, 1_500_077, 0)
	m.refuse("stranger in the owner's position", custom(0, 101), m.stranger,
		m.bond(p, m.stranger, 1).with(3, good.accounts[3]).build())
}

func (m *stakes) unbonds() {
	m.t.Helper()
	p := m.pool
	good := m.unbond(p, m.buyer, 200_000)
	m.refuse("staker does not sign", custom(0, 101), m.stranger, good.with(0, read(m.buyer)).build())
	m.refuse("somebody else's", custom(0, 101), m.stranger, good.with(0, sign(m.stranger)).build())
	m.refuse("another market", custom(0, 108), m.buyer, good.with(1, read(m.secondMarket())).build())
	m.refuse("pool read-only", custom(0, 104), m.buyer, good.with(2, read(p.address)).build())
	position, bump := m.position(p, m.buyer)
	m.refuse("position read-only", custom(0, 104), m.buyer, good.with(3, read(position)).build())
	m.refuse("no position", custom(0, 102), m.stranger, m.unbond(p, m.stranger, 1).build())
	m.refuse("nothing", custom(0, 105), m.buyer, m.unbond(p, m.buyer, 0).build())
	m.refuse("more than there is", custom(0, 105), m.buyer, m.unbond(p, m.buyer, 500_001).build())
	m.accept("unbond", m.buyer, good.build())
	want := []byte("bourse2\x21")
	for _, k := range []key{p.address, m.buyer} {
		want = append(want, k[:]...)
	}
	for _, n := range []uint64{300_000, 200_000, 0} {
		want = le.AppendUint64(want, n)
	}
	data := m.record(position, []int{88}, append(want, bump, 2, 0, 0, 0, 0, 0, 0))
	if at := int64(le.Uint64(data[88:])) - m.in(14*day); at < -60 || at > 60 {
		m.t.Fatalf("unlocked %d s after the cooldown", at)
	}
}

// secondMarket is the configuration of another authority of the same program, for the same mint.
func (m *stakes) secondMarket() key {
	m.t.Helper()
	second := m.marketOf(m.stranger)
	m.accept("another market", m.stranger, m.createMarket(second).build())
	return second.address
}

func (m *stakes) withdraws() {
	m.t.Helper()
	p := m.pool
	good := m.withdraw(p, m.buyer)
	m.refuse("nothing unbonded", custom(0, 105), p.owner, m.withdraw(p, p.owner).build())
	m.refuse("before the cooldown", custom(0, 106), m.buyer, good.build())
	m.warp(14*day - 120)
	m.refuse("still before it", custom(0, 106), m.buyer, good.build())
	m.warp(240)
	m.refuse("staker does not sign", custom(0, 101), m.stranger, good.with(0, read(m.buyer)).build())
	m.refuse("a thief signs", custom(0, 101), m.stranger, good.with(0, sign(m.stranger)).with(5, write(tokens(m.stranger, m.mint))).build())
	m.refuse("paid to a thief", custom(0, 108), m.buyer, good.with(5, write(tokens(m.stranger, m.mint))).build())
	m.refuse("paid to the vault", custom(0, 108), m.buyer, good.with(5, write(p.vault)).build())
	m.refuse("paid from elsewhere", custom(0, 103), m.buyer, good.with(3, write(tokens(p.owner, m.mint))).build())
	m.refuse("another mint", custom(0, 109), m.buyer, good.with(4, read(m.stranger)).build())
	m.refuse("other Token program", custom(0, 100), m.buyer, good.with(6, read(m.stranger)).build())
	m.refuse("pool read-only", custom(0, 104), m.buyer, good.with(1, read(p.address)).build())
	m.refuse("with data", custom(0, 100), m.buyer, call{m.program, good.accounts, []byte{19, 0}}.build())

	// The stranger's own pool and position give no way into this one.
	mine := m.poolOf(m.stranger)
	m.accept("a pool of a stranger", m.stranger, m.createPool(mine).build())
	m.accept("own stake in it", m.stranger, m.bond(mine, m.stranger, 700_000).build())
	m.accept("unbond it", m.stranger, m.unbond(mine, m.stranger, 700_000).build())
	m.warp(14*day + 60)
	theirs := m.withdraw(mine, m.stranger)
	m.refuse("position of another pool", custom(0, 108), m.stranger, theirs.with(1, write(p.address)).with(3, write(p.vault)).build())
	m.refuse("vault of another pool", custom(0, 103), m.stranger, theirs.with(3, write(p.vault)).build())
	m.accept("withdraw what is theirs", m.stranger, theirs.build())

	m.accept("freeze the vault", m.admin, token.NewFreezeAccountInstruction(p.vault, m.mint, m.admin, nil).Build())
	m.refuse("withdraw from a frozen vault", custom(0, 17), m.buyer, good.build())
	m.accept("thaw it", m.admin, token.NewThawAccountInstruction(p.vault, m.mint, m.admin, nil).Build())
	have := m.amount(tokens(m.buyer, m.mint))
	m.accept("withdraw", m.buyer, good.build())
	if got := m.amount(tokens(m.buyer, m.mint)) - have; got != 200_000 {
		m.t.Fatalf("the delegator got %d", got)
	}
	m.refuse("withdraw again", custom(0, 105), m.buyer, good.build())
	m.worth(1_300_000, 1_300_000, 1_300_077, 0)
}

func (m *stakes) proposes() {
	m.t.Helper()
	p, authority := m.pool, m.market.authority
	good := m.proposeSlash(p, 130_000, evidence)
	m.refuse("authority does not sign", custom(0, 101), m.stranger, good.with(0, read(authority)).build())
	m.refuse("not the authority", custom(0, 101), m.stranger, good.with(0, sign(m.stranger)).build())
	m.refuse("the arbiter", custom(0, 101), m.arbiter, good.with(0, sign(m.arbiter)).build())
	m.refuse("authority of another market", custom(0, 108), m.stranger, good.with(0, sign(m.stranger)).with(1, read(m.marketOf(m.stranger).address)).build())
	m.refuse("a wallet as pool", custom(0, 102), authority, good.with(2, write(m.stranger)).build())
	m.refuse("pool read-only", custom(0, 104), authority, good.with(2, read(p.address)).build())
	m.refuse("nothing", custom(0, 105), authority, m.proposeSlash(p, 0, evidence).build())
	m.refuse("all", custom(0, 105), authority, m.proposeSlash(p, 1_300_000, evidence).build())
	m.refuse("over the cap", custom(0, 110), authority, m.proposeSlash(p, 130_001, evidence).build())
	m.refuse("without evidence", custom(0, 100), authority, m.proposeSlash(p, 1, [32]byte{}).build())
	m.refuse("short", custom(0, 100), authority, call{m.program, good.accounts, good.data[:41]}.build())
	m.accept("propose", authority, good.build())
	m.refuse("propose another", custom(0, 113), authority, m.proposeSlash(p, 1, evidence).build())

	_, _, data := m.account(p.address)
	proposed, appeal, decide := le.Uint64(data[184:]), le.Uint64(data[192:]), le.Uint64(data[200:])
	if le.Uint64(data[176:]) != 130_000 || appeal-proposed != day || decide-appeal != 2*day || [32]byte(data[208:240]) != evidence ||
		key(data[240:272]) != m.arbiter || le.Uint32(data[272:]) != 1 || data[276] != 1 || data[277] != 3 {
		m.t.Fatalf("pending slash: %x", data[176:278])
	}
	m.accept("unbond under a slash", m.buyer, m.unbond(p, m.buyer, 100_000).build())
	m.refuse("delegate under a slash", custom(0, 113), m.stranger, m.bond(p, m.stranger, 1).build())
	m.accept("own stake under a slash", p.owner, m.bond(p, p.owner, 200_000).build())
}

func (m *stakes) appeals() {
	m.t.Helper()
	p := m.pool
	good := m.appeal(p, 1)
	m.refuse("owner does not sign", custom(0, 101), m.stranger, good.with(0, read(p.owner)).build())
	m.refuse("a delegator", custom(0, 101), m.buyer, good.with(0, sign(m.buyer)).build())
	m.refuse("a wallet as pool", custom(0, 102), p.owner, good.with(1, write(m.stranger)).build())
	m.refuse("pool read-only", custom(0, 104), p.owner, good.with(1, read(p.address)).build())
	m.refuse("another slash", custom(0, 104), p.owner, m.appeal(p, 2).build())
	m.refuse("short", custom(0, 100), p.owner, call{m.program, good.accounts, good.data[:4]}.build())
	m.refuse("executed before the window is over", custom(0, 106), m.stranger, m.executeSlash(m.stranger, p, 1).build())
	m.refuse("the arbiter before the window is over", custom(0, 106), m.arbiter, m.executeSlash(m.arbiter, p, 1).build())
	m.accept("appeal", p.owner, good.build())
	m.refuse("appeal again", custom(0, 104), p.owner, good.build())
	m.warp(day + 60)
	for name, k := range map[string]key{"authority": m.market.authority, "stranger": m.stranger, "owner": p.owner} {
		m.refuse("executed by the "+name+" in spite of the appeal", custom(0, 101), k, m.executeSlash(k, p, 1).build())
	}
	m.refuse("dropped by a stranger", custom(0, 106), m.stranger, m.dropSlash(m.stranger, p, 1).build())
}

func (m *stakes) executes() {
	m.t.Helper()
	p := m.pool
	good := m.executeSlash(m.arbiter, p, 1)
	m.refuse("arbiter does not sign", custom(0, 101), m.stranger, good.with(0, read(m.arbiter)).build())
	m.refuse("vault of another pool", custom(0, 103), m.arbiter, good.with(2, write(m.poolOf(m.stranger).vault)).build())
	m.refuse("another mint", custom(0, 109), m.arbiter, good.with(3, write(m.stranger)).build())
	m.refuse("mint read-only", builtin(0, "PrivilegeEscalation"), m.arbiter, good.with(3, read(m.mint)).build())
	m.refuse("other Token program", custom(0, 100), m.arbiter, good.with(4, read(m.stranger)).build())
	m.refuse("another slash", custom(0, 104), m.arbiter, m.executeSlash(m.arbiter, p, 0).build())
	m.accept("the arbiter executes", m.arbiter, good.build())
	m.refuse("execute again", custom(0, 104), m.arbiter, good.build())
	m.worth(1_370_000, 1_500_000, 1_370_077, 130_000)
	m.refuse("a slash on the next day", custom(0, 106), m.market.authority, m.proposeSlash(p, 1, evidence).build())

	m.warp(14*day + 60)
	have := m.amount(tokens(m.buyer, m.mint))
	m.accept("withdraw what is left", m.buyer, m.withdraw(p, m.buyer).build())
	// 100000 of 1500000 shares in 1370000 tokens, rounded down.
	if got := m.amount(tokens(m.buyer, m.mint)) - have; got != 91_333 {
		m.t.Fatalf("the delegator got %d", got)
	}
	m.worth(1_278_667, 1_400_000, 1_278_744, 130_000)
	m.accept("delegate at the price of now", m.buyer, m.bond(p, m.buyer, 91_333).build())
	// 91333 * 1400000 / 1278667, rounded down.
	m.worth(1_370_000, 1_499_999, 1_370_077, 130_000)
}

func (m *stakes) drops() {
	m.t.Helper()
	p, authority := m.pool, m.market.authority
	m.warp(31 * day)
	propose := func(number uint32) {
		m.accept("propose", authority, m.proposeSlash(p, 1000, evidence).build())
		m.refuse("decide about the last", custom(0, 104), authority, m.dropSlash(authority, p, number-1).build())
	}
	propose(2)
	m.refuse("dropped by the arbiter without an appeal", custom(0, 106), m.arbiter, m.dropSlash(m.arbiter, p, 2).build())
	m.refuse("authority does not sign", custom(0, 101), m.stranger, m.dropSlash(authority, p, 2).with(0, read(authority)).build())
	m.accept("dropped by the authority", authority, m.dropSlash(authority, p, 2).build())
	m.refuse("drop again", custom(0, 104), authority, m.dropSlash(authority, p, 2).build())
	m.warp(day + 60)
	propose(3)
	m.accept("appeal", p.owner, m.appeal(p, 3).build())
	m.accept("dropped by the arbiter after an appeal", m.arbiter, m.dropSlash(m.arbiter, p, 3).build())
	m.warp(day + 60)
	propose(4)
	m.warp(day + 60)
	m.refuse("appeal too late", custom(0, 106), p.owner, m.appeal(p, 4).build())
	m.warp(2 * day)
	m.refuse("execute too late", custom(0, 106), m.stranger, m.executeSlash(m.stranger, p, 4).build())
	m.accept("dropped by a stranger after all", m.stranger, m.dropSlash(m.stranger, p, 4).build())
	m.worth(1_370_000, 1_499_999, 1_370_077, 130_000)
}

// caps: within 30 days no share loses more than a tenth.
func (m *stakes) caps() {
	m.t.Helper()
	p, authority := m.pool, m.market.authority
	m.warp(31 * day)
	m.accept("propose most of the cap", authority, m.proposeSlash(p, 136_999, evidence).build())
	m.warp(day + 60)
	m.accept("anybody executes", m.stranger, m.executeSlash(m.stranger, p, 5).build())
	m.worth(1_233_001, 1_499_999, 1_233_078, 266_999)
	m.warp(day + 60)
	m.accept("the owner doubles the pool", p.owner, m.bond(p, p.owner, 1_233_001).build())
	m.refuse("a tenth of the pool", custom(0, 110), authority, m.proposeSlash(p, 246_600, evidence).build())
	m.refuse("more than is left of the cap", custom(0, 110), authority, m.proposeSlash(p, 3, evidence).build())
	m.warp(27 * day)
	m.refuse("before 30 days are over", custom(0, 110), authority, m.proposeSlash(p, 3, evidence).build())
	m.warp(2 * day)
	m.refuse("over the new cap", custom(0, 110), authority, m.proposeSlash(p, 246_601, evidence).build())
	m.accept("the new cap", authority, m.proposeSlash(p, 246_600, evidence).build())
	m.accept("drop it", authority, m.dropSlash(authority, p, 6).build())
}

// wrappedSOL cannot be burned: a market whose token it is has no pools.
func (m *stakes) wrappedSOL() {
	m.t.Helper()
	mint := make([]byte, 82) // Real clusters have it from the start.
	mint[44], mint[45] = 9, 1
	account := &chaintest.Account{Lamports: rent(82), Owner: solana.TokenProgramID.String(), Data: mint}
	if err := m.sim.SetAccount(m.t.Context(), solana.WrappedSol.String(), account); err != nil {
		m.t.Fatal(err)
	}
	second := m.marketOf(m.buyer)
	second.mint = solana.WrappedSol
	m.accept("a market of wrapped SOL", m.buyer, m.createMarket(second).build())
	p := pool{owner: m.supplier}
	p.address, p.bump = m.derive([]byte("pool"), second.address[:], p.owner[:])
	p.vault, p.vaultBump = m.derive([]byte("pool-vault"), p.address[:])
	m.refuse("a pool of wrapped SOL", custom(0, 109), p.owner,
		m.createPool(p).with(1, read(second.address)).with(4, read(second.mint)).build())
}
