// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// programs returns the ELF files to test: the committed ones, or the one that the environment names.
func programs(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string]string{"v0": filepath.Join("..", "bourse.so"), "v3": filepath.Join("..", "bourse.v3.so")}
	if path := os.Getenv("BOURSE_PROGRAM_ELF"); path != "" {
		files = map[string]string{filepath.Base(path): path}
	}
	out := map[string][]byte{}
	for name, path := range files {
		elf, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = elf
	}
	return out
}

func TestMatrix(t *testing.T) {
	for name, elf := range programs(t) {
		t.Run(name, func(t *testing.T) {
			m := &matrix{world: newWorld(t, elf)}
			m.refuseMarkets()
			m.changeMarket()
			m.refuseOpen()
			m.refuseMarketTerms()
			m.open()
			m.refuseClaims()
			m.refuseVouchers()
			m.claim()
			m.freeze()
			m.close()
			m.deadline()
			m.exhaust()
			m.adjust()
			m.dispute()
			m.award()
			m.hold()
			m.native()
			t.Logf("%d steps", m.steps)
			if m.steps < 230 {
				t.Errorf("only %d steps were made", m.steps)
			}
		})
	}
}

// matrix is the walk through everything that the program does and refuses.
type matrix struct {
	*world
	lease lease
	steps int
}

// accept makes a step that has to succeed, and compares all balances of the lease's parties afterwards.
func (m *matrix) accept(name string, payer key, instructions ...solana.Instruction) {
	m.t.Helper()
	m.refuse(name, "", payer, instructions...)
}

// refuse makes a step that has to fail with exactly this error.
func (m *matrix) refuse(name, want string, payer key, instructions ...solana.Instruction) {
	m.t.Helper()
	m.steps++
	if o := m.send(payer, instructions...); o.err != want {
		m.t.Fatalf("%s: got error %q, want %q\n%s", name, o.err, want, strings.Join(o.logs, "\n"))
	}
}

// balances compares who has how much.
func (m *matrix) balances(l lease, vault, buyer, supplier, treasury, supply uint64) {
	m.t.Helper()
	got := [5]uint64{
		m.amount(l.vault), m.amount(tokens(m.buyer, m.mint)), m.amount(tokens(m.supplier, m.mint)),
		m.amount(tokens(m.treasury, m.mint)), m.supply(m.mint),
	}
	if want := [5]uint64{vault, buyer, supplier, treasury, supply}; got != want {
		m.t.Fatalf("vault, buyer, supplier, treasury, supply: got %v, want %v", got, want)
	}
}

// move pays tokens outside the program.
func (m *matrix) move(from, to key, amount uint64) solana.Instruction {
	return token.NewTransferCheckedInstruction(amount, decimals, tokens(from, m.mint), m.mint, tokens(to, m.mint), from, nil).Build()
}

func (m *matrix) refuseOpen() {
	m.t.Helper()
	m.lease = m.newLease("first", 10_000_000)
	with := func(name string, code int, change func(*lease)) {
		l := m.lease
		change(&l)
		m.refuse(name, custom(0, code), m.buyer, m.world.open(l).build())
	}
	with("no deposit", 105, func(l *lease) { l.deposit = 0 })
	with("buyer's fee over 10 %", 105, func(l *lease) { l.buyerFee = 1001 })
	with("supplier's fee over 10 %", 105, func(l *lease) { l.supplierFee = 1001 })
	with("burn of more than the fee", 105, func(l *lease) { l.burn = 10_001 })
	with("deadline in the past", 106, func(l *lease) { l.deadline = 1 })
	with("deadline before time", 106, func(l *lease) { l.deadline = -1 })
	with("wrong bump", 103, func(l *lease) { l.bump-- })
	with("wrong vault bump", 103, func(l *lease) { l.vaultBump-- })
	with("address of another id", 103, func(l *lease) { l.id[31] ^= 1 })
	with("wrong decimals", 109, func(l *lease) { l.decimals = 9 })
	with("more than the buyer has", 1, func(l *lease) { l.deposit = wealth + 1 })

	with("deadline in milliseconds", 106, func(l *lease) { l.deadline *= 1000 })

	good := m.world.open(m.lease)
	m.refuse("buyer does not sign", custom(0, 101), m.stranger, good.with(0, write(m.buyer)).build())
	m.refuse("vault elsewhere", custom(0, 103), m.buyer, good.with(2, write(m.newKey())).build())
	m.refuse("mint is a token account", custom(0, 109), m.buyer, good.with(3, read(tokens(m.stranger, m.mint))).build())
	m.refuse("mint of nobody", custom(0, 109), m.buyer, good.with(3, read(m.newKey())).build())
	m.accept("give a stranger tokens", m.buyer, m.move(m.buyer, m.stranger, 10_000_000))
	m.refuse("pays from a stranger's account", custom(0, 4), m.buyer, good.with(4, write(tokens(m.stranger, m.mint))).build())
	m.accept("give them back", m.stranger, m.move(m.stranger, m.buyer, 10_000_000))
	m.refuse("other System program", custom(0, 100), m.buyer, good.with(9, read(m.stranger)).build())
	m.refuse("other Token program", custom(0, 100), m.buyer, good.with(10, read(solana.Token2022ProgramID)).build())
	m.refuse("empty instruction", custom(0, 100), m.buyer, call{m.program, good.accounts, nil}.build())
	m.refuse("unknown instruction", custom(0, 100), m.buyer, call{m.program, good.accounts, []byte{200}}.build())
	m.refuse("short instruction", custom(0, 100), m.buyer, call{m.program, good.accounts, good.data[:63]}.build())
	m.refuse("long instruction", custom(0, 100), m.buyer, call{m.program, good.accounts, append(good.data[:64:64], 0)}.build())
}

func (m *matrix) open() {
	m.t.Helper()
	l := m.lease
	m.accept("a griefer sends lamports to both addresses", m.stranger,
		system.NewTransferInstruction(890_880, m.stranger, l.address).Build(), system.NewTransferInstruction(890_880, m.stranger, l.vault).Build())
	m.accept("open", m.buyer, m.world.open(l).build())
	m.balances(l, 10_000_000, wealth-10_000_000, 0, 0, wealth)
	m.refuse("open again", custom(0, 104), m.buyer, m.world.open(l).build())

	owner, lamports, data := m.account(l.address)
	if owner != m.program || lamports != rent(256) || len(data) != 256 {
		m.t.Fatalf("lease account: owner %s, %d lamports, %d bytes", owner, lamports, len(data))
	}
	want := []byte("bourse2\x01")
	for _, k := range []key{m.buyer, m.supplier, {}, m.treasury, m.mint, l.id} {
		want = append(want, k[:]...)
	}
	for _, n := range []uint64{l.deposit, 0, uint64(l.deadline)} {
		want = le.AppendUint64(want, n)
	}
	for _, n := range []uint16{l.buyerFee, l.supplierFee, l.burn} {
		want = le.AppendUint16(want, n)
	}
	want = append(want, l.decimals, l.bump, l.vaultBump, 2)
	if want = append(want, make([]byte, 22)...); string(data) != string(want) {
		m.t.Fatalf("lease account:\ngot  %x\nwant %x", data, want)
	}
}

func (m *matrix) refuseClaims() {
	m.t.Helper()
	l := m.lease
	const gross = 1_000_000
	v, good := m.voucher(l, gross), m.world.claim(m.supplier, l, gross)
	with := func(name string, code, at int, account *solana.AccountMeta) {
		m.refuse(name, custom(1, code), m.supplier, v, good.with(at, account).build())
	}
	other := m.newLease("other", 1_000_000)
	m.accept("open another", m.buyer, m.world.open(other).build())
	mint := m.newMint(decimals)
	with("submitter does not sign", 101, 0, read(m.stranger))
	with("lease of nobody", 102, 1, write(m.newKey()))
	with("a token account as lease", 102, 1, write(tokens(m.supplier, m.mint)))
	with("lease read-only", 104, 1, read(l.address))
	with("vault of another lease", 103, 2, write(other.vault))
	with("buyer's account as vault", 103, 2, write(tokens(m.buyer, m.mint)))
	with("another mint", 109, 3, write(mint))
	with("paid to a thief", 108, 4, write(tokens(m.stranger, m.mint)))
	with("paid in another token", 108, 4, write(tokens(m.supplier, mint)))
	with("fee to a thief", 108, 5, write(tokens(m.stranger, m.mint)))
	with("fee to the supplier", 108, 5, write(tokens(m.supplier, m.mint)))
	with("sysvar of somebody's making", 107, 6, read(m.stranger))
	with("other Token program", 100, 7, read(m.stranger))
	m.refuse("another lease with this one's voucher", custom(1, 107), m.supplier, m.voucher(l, 500_000), m.world.claim(m.supplier, other, 500_000).build())
	m.refuse("more than the deposit", custom(1, 105), m.supplier, m.voucher(l, 10_000_001), m.world.claim(m.supplier, l, 10_000_001).build())
	m.refuse("all of the deposit, and the fee on top", custom(1, 105), m.supplier, m.voucher(l, 10_000_000), m.world.claim(m.supplier, l, 10_000_000).build())
	m.refuse("nothing", custom(1, 105), m.supplier, m.voucher(l, 0), m.world.claim(m.supplier, l, 0).build())
	m.refuse("mint read-only although something burns", builtin(1, "PrivilegeEscalation"), m.supplier, v, good.with(3, read(m.mint)).build())
	m.balances(l, 10_000_000, wealth-11_000_000, 0, 0, wealth)
}

func (m *matrix) refuseVouchers() {
	m.t.Helper()
	l := m.lease
	const gross = 2_000_000
	c := m.world.claim(m.supplier, l, gross).build()
	with := func(name string, check call) {
		m.refuse(name, custom(1, 107), m.supplier, check.build(), c)
	}
	good := m.check(m.buyer, message(m.program, l.address, gross))
	with("voucher says less", m.check(m.buyer, message(m.program, l.address, gross-1)))
	with("voucher says more", m.check(m.buyer, message(m.program, l.address, gross+1)))
	with("signed by the supplier", m.check(m.supplier, message(m.program, l.address, gross)))
	with("for another lease", m.check(m.buyer, message(m.program, m.mint, gross)))
	with("for another program", m.check(m.buyer, message(m.mint, l.address, gross)))
	with("other version", m.check(m.buyer, append([]byte("bourse1"), message(m.program, l.address, gross)[7:]...)))
	with("longer message", m.check(m.buyer, append(message(m.program, l.address, gross), 0)))
	// A valid check of another message, whose offsets name the instruction that they are in by its number.
	explicit := append([]byte{}, good.data...)
	explicit[4], explicit[5], explicit[8], explicit[9], explicit[14], explicit[15] = 0, 0, 0, 0, 0, 0
	with("offsets name an instruction", call{ed25519Program, nil, explicit})
	// The check looks at bytes appended to the instruction, the program would read the forged ones in front of them.
	honest := m.check(m.supplier, message(m.program, l.address, gross))
	forged := append([]byte{}, honest.data...)
	copy(forged[16:], m.buyer[:])
	forged = append(forged, honest.data[16:]...)
	for _, at := range []int{2, 6, 10} {
		le.PutUint16(forged[at:], le.Uint16(forged[at:])+175)
	}
	with("offsets lead elsewhere", call{ed25519Program, nil, forged})
	m.refuse("no check", custom(0, 107), m.supplier, c)
	m.refuse("check after the claim", custom(0, 107), m.supplier, c, good.build())
	m.refuse("something between check and claim", custom(2, 107), m.supplier, good.build(), system.NewTransferInstruction(1, m.supplier, m.stranger).Build(), c)
	m.refuse("one check for two claims", custom(2, 107), m.supplier, m.voucher(l, gross), c, m.world.claim(m.supplier, l, gross+1).build())
	bad := append([]byte{}, good.data...)
	bad[60] ^= 1
	m.refuse("forged signature", custom(0, 2), m.supplier, call{ed25519Program, nil, bad}.build(), c)
	m.balances(l, 10_000_000, wealth-11_000_000, 0, 0, wealth)
}

func (m *matrix) claim() {
	m.t.Helper()
	l := m.lease
	// Fees 22500 and 2500; 40 % of 25000 are burned.
	m.accept("claim", m.supplier, m.voucher(l, 1_000_000), m.world.claim(m.supplier, l, 1_000_000).build())
	m.balances(l, 10_000_000-1_022_500, wealth-11_000_000, 997_500, 15_000, wealth-10_000)
	m.refuse("the same voucher again", custom(1, 105), m.supplier, m.voucher(l, 1_000_000), m.world.claim(m.supplier, l, 1_000_000).build())
	m.refuse("an older voucher", custom(1, 105), m.supplier, m.voucher(l, 500_000), m.world.claim(m.supplier, l, 500_000).build())
	m.accept("anybody may submit", m.stranger, m.voucher(l, 1_000_001), m.world.claim(m.stranger, l, 1_000_001).build())
	// One unit more: no fee has grown by a whole unit.
	m.balances(l, 10_000_000-1_022_501, wealth-11_000_000, 997_501, 15_000, wealth-10_000)
	m.accept("two claims, each with its check", m.supplier,
		m.voucher(l, 1_500_000), m.world.claim(m.supplier, l, 1_500_000).build(), m.voucher(l, 2_000_000), m.world.claim(m.supplier, l, 2_000_000).build())
	m.balances(l, 10_000_000-2_045_000, wealth-11_000_000, 1_995_000, 30_000, wealth-20_000)
}

// freeze shows what a mint's freeze authority can do: stop a claim, but not change it.
func (m *matrix) freeze() {
	m.t.Helper()
	l := m.lease
	for _, k := range []key{l.vault, tokens(m.supplier, m.mint), tokens(m.treasury, m.mint)} {
		m.accept("freeze", m.admin, token.NewFreezeAccountInstruction(k, m.mint, m.admin, nil).Build())
		m.refuse("claim with a frozen account", custom(1, 17), m.supplier, m.voucher(l, 3_000_000), m.world.claim(m.supplier, l, 3_000_000).build())
		m.accept("thaw", m.admin, token.NewThawAccountInstruction(k, m.mint, m.admin, nil).Build())
	}
	m.accept("claim after the thaw", m.supplier, m.voucher(l, 3_000_000), m.world.claim(m.supplier, l, 3_000_000).build())
	m.balances(l, 10_000_000-3_067_500, wealth-11_000_000, 2_992_500, 45_000, wealth-30_000)
}

func (m *matrix) close() {
	m.t.Helper()
	l := m.lease
	good := m.world.close(m.supplier, l)
	m.refuse("buyer closes early", custom(0, 106), m.buyer, m.world.close(m.buyer, l).build())
	m.refuse("stranger closes early", custom(0, 106), m.stranger, m.world.close(m.stranger, l).build())
	m.refuse("supplier does not sign", custom(0, 101), m.stranger, good.with(0, read(m.supplier)).build())
	m.refuse("vault of nobody", custom(0, 103), m.supplier, good.with(2, write(m.newKey())).build())
	m.refuse("another mint", custom(0, 109), m.supplier, good.with(3, read(m.stranger)).build())
	m.refuse("rest to the supplier", custom(0, 108), m.supplier, good.with(4, write(tokens(m.supplier, m.mint))).build())
	m.refuse("rent to the supplier", custom(0, 108), m.supplier, good.with(5, write(m.supplier)).build())
	m.refuse("lease read-only", custom(0, 104), m.supplier, good.with(1, read(l.address)).build())
	m.refuse("close with data", custom(0, 100), m.supplier, call{m.program, good.accounts, []byte{2, 0}}.build())
	m.accept("dust in the vault", m.buyer, token.NewTransferCheckedInstruction(7, decimals, tokens(m.buyer, m.mint), m.mint, l.vault, m.buyer, nil).Build())
	_, before, _ := m.account(m.buyer)
	m.accept("supplier closes", m.supplier, good.build())
	_, after, _ := m.account(m.buyer)
	if after-before != rent(165) {
		m.t.Fatalf("vault rent: the buyer got %d lamports, want %d", after-before, rent(165))
	}
	m.balances(l, 0, wealth-1_000_000-3_067_500, 2_992_500, 45_000, wealth-30_000)
	if owner, _, data := m.account(l.address); owner != m.program || string(data[:8]) != "bourse2\x02" {
		m.t.Fatalf("tombstone: owner %s, magic %q", owner, data[:8])
	}
	m.refuse("claim after the end", custom(1, 104), m.supplier, m.voucher(l, 5_000_000), m.world.claim(m.supplier, l, 5_000_000).build())
	m.refuse("close again", custom(0, 104), m.supplier, good.build())
	m.refuse("open the same id again", custom(0, 104), m.buyer, m.world.open(l).build())
	m.accept("a griefer revives the vault's address", m.stranger, system.NewTransferInstruction(2_039_280, m.stranger, l.vault).Build())
	m.refuse("open the same id still", custom(0, 104), m.buyer, m.world.open(l).build())
}

// deadline: a stranger may close, and a late voucher still counts until somebody has.
func (m *matrix) deadline() {
	m.t.Helper()
	first, second := m.newLease("late", 5_000_000), m.newLease("later", 5_000_000)
	m.accept("open", m.buyer, m.world.open(first).build())
	m.accept("open", m.buyer, m.world.open(second).build())
	m.warp(3700)
	have := m.amount(tokens(m.buyer, m.mint))
	m.accept("stranger closes after the deadline", m.stranger, m.world.close(m.stranger, first).build())
	m.accept("late claim", m.supplier, m.voucher(second, 1_000_000), m.world.claim(m.supplier, second, 1_000_000).build())
	m.accept("buyer closes after the deadline", m.buyer, m.world.close(m.buyer, second).build())
	m.balances(second, 0, have+10_000_000-1_022_500, 3_990_000, 60_000, wealth-40_000)
}

// exhaust claims a deposit to the last unit.
func (m *matrix) exhaust() {
	m.t.Helper()
	l := m.newLease("exhausted", 1_022_500)
	m.accept("open", m.buyer, m.world.open(l).build())
	m.refuse("one unit too much", custom(1, 105), m.supplier, m.voucher(l, 1_000_001), m.world.claim(m.supplier, l, 1_000_001).build())
	m.accept("the last unit", m.supplier, m.voucher(l, 1_000_000), m.world.claim(m.supplier, l, 1_000_000).build())
	if left := m.amount(l.vault); left != 0 {
		m.t.Fatalf("%d units left in the vault", left)
	}
	m.accept("close an empty vault", m.supplier, m.world.close(m.supplier, l).build())

	total := m.amount(m.newLease("other", 0).vault)
	for _, owner := range []key{m.buyer, m.supplier, m.treasury, m.stranger} {
		total += m.amount(tokens(owner, m.mint))
	}
	if supply := m.supply(m.mint); total != supply {
		m.t.Fatalf("value is not conserved: accounts hold %d, the mint says %d", total, supply)
	}
}

// native pays in wrapped SOL, whose token accounts hold their balance in lamports too, and burns nothing.
func (m *matrix) native() {
	m.t.Helper()
	m.mint = solana.WrappedSol
	mint := make([]byte, 82) // Real clusters have it from the start.
	mint[44], mint[45] = 9, 1
	account := &chaintest.Account{Lamports: rent(82), Owner: solana.TokenProgramID.String(), Data: mint}
	if err := m.sim.SetAccount(m.t.Context(), m.mint.String(), account); err != nil {
		m.t.Fatal(err)
	}
	for _, owner := range []key{m.buyer, m.supplier, m.treasury} {
		m.must(m.admin, createTokens(m.admin, owner, m.mint))
	}
	m.must(m.admin, system.NewTransferInstruction(1_000_000_000, m.admin, tokens(m.buyer, m.mint)).Build(), token.NewSyncNativeInstruction(tokens(m.buyer, m.mint)).Build())
	l := m.newLease("native", 500_000_000)
	l.decimals, l.burn = 9, 0
	m.accept("a griefer sends lamports to the vault", m.stranger, system.NewTransferInstruction(3_000_000, m.stranger, l.vault).Build())
	m.accept("open", m.buyer, m.world.open(l).build())
	m.accept("claim, the mint read-only", m.supplier, m.voucher(l, 100_000_000), m.world.claim(m.supplier, l, 100_000_000).with(3, read(m.mint)).build())
	m.accept("close", m.supplier, m.world.close(m.supplier, l).build())
	got := [3]uint64{m.amount(tokens(m.buyer, m.mint)), m.amount(tokens(m.supplier, m.mint)), m.amount(tokens(m.treasury, m.mint))}
	if want := [3]uint64{1_000_000_000 - 102_250_000 + 3_000_000 - rent(165), 99_750_000, 2_500_000}; got != want {
		m.t.Fatalf("buyer, supplier, treasury: got %v, want %v", got, want)
	}
}
