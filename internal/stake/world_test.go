// SPDX-License-Identifier: Apache-2.0

package stake_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	fakechain "github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/chaintest"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

// elfEnv names another build of the program to test instead of the committed one.
const elfEnv = "BOURSE_PROGRAM_ELF"

const (
	finalLag  = 4
	sol       = 1_000_000_000
	allTokens = 1_000_000
	window    = 2 * time.Hour
	hold      = 24 * time.Hour
	cooldown  = 14 * 24 * time.Hour
)

// stakeChain is what the tests need of a chain.
type stakeChain interface {
	outbox.Chain
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
}

// world is a chain with the program, a market's configuration, a mint and five funded wallets: the real runtime with the real program,
// or the fakes in their places.
type world struct {
	t         *testing.T
	on        stakeChain
	tick      func()
	warp      func(time.Duration)
	set       func(address, owner chain.Address, data []byte)
	now       func() time.Time
	pool      stake.Pool
	config    escrow.Config
	configure func(escrow.Config)

	authority, arbiter, owner, delegator, stranger *signer.Keypair
}

func wallet(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

// worlds runs a test on the fakes and on the real program.
func worlds(t *testing.T, test func(*world)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) { test(newFake(t)) })
	t.Run("real", func(t *testing.T) { test(newReal(t)) })
}

func newFake(t *testing.T) *world {
	t.Helper()
	on, now := fakechain.New(0, finalLag), time.Unix(1_800_000_000, 0).UTC()
	w := &world{
		t: t, on: on, tick: func() { on.Tick(1) }, warp: func(by time.Duration) { now = now.Add(by) },
		now: func() time.Time { return now },
		set: func(address, owner chain.Address, data []byte) {
			on.Set(chain.Account{Address: address, Owner: owner, Lamports: 10 * sol, Data: data})
		},
	}
	w.configure = func(config escrow.Config) { w.must(fakeprogram.Configure(on, config)) }
	fakeprogram.InstallStakes(on, wallet("program").PublicKey(), w.now)
	w.furnish()
	return w
}

func newReal(t *testing.T) *world {
	t.Helper()
	process := chaintest.Run(t, chaintest.Config{Manual: true, ConfirmLag: new(0), FinalLag: new(finalLag), Seed: t.Name()})
	w := &world{t: t, on: chain.NewClient(process.RPC, chain.Options{})}
	w.tick = func() { w.must(process.Tick(t.Context(), 1)) }
	w.warp = func(by time.Duration) { w.must(process.WarpTime(t.Context(), by)); w.tick() }
	w.now = func() time.Time {
		stats, err := process.Stats(t.Context())
		w.must(err)
		return time.Unix(stats.Time, 0).UTC()
	}
	w.set = func(address, owner chain.Address, data []byte) {
		w.must(process.SetAccount(t.Context(), address.String(), &chaintest.Account{Lamports: 10 * sol, Owner: owner.String(), Data: data}))
	}
	w.configure = func(config escrow.Config) {
		instructions, err := escrow.CreateConfig(config)
		w.land(w.authority, instructions, err)
	}
	path := os.Getenv(elfEnv)
	if path == "" {
		path = "../../program/bourse.so"
	}
	elf, err := os.ReadFile(path)
	w.must(err)
	w.must(process.AddProgram(t.Context(), wallet("program").PublicKey().String(), elf))
	w.furnish()
	return w
}

// furnish puts the market, the mint and the wallets in place.
func (w *world) furnish() {
	w.t.Helper()
	w.authority, w.arbiter, w.owner, w.delegator, w.stranger = wallet("authority"), wallet("arbiter"), wallet("owner"), wallet("delegator"), wallet("stranger")
	program, mint := wallet("program").PublicKey(), wallet("mint").PublicKey()
	config, _, err := escrow.ConfigAddress(program, w.authority.PublicKey())
	w.must(err)
	w.pool = stake.Pool{Program: program, Config: config, Owner: w.owner.PublicKey(), Mint: mint}
	w.set(mint, chain.TokenProgram, mintData(8, 5*allTokens))
	for _, one := range []*signer.Keypair{w.authority, w.arbiter, w.owner, w.delegator, w.stranger} {
		w.set(one.PublicKey(), chain.SystemProgram, nil)
		w.set(w.tokens(one), chain.TokenProgram, fakeprogram.Tokens(mint, one.PublicKey(), allTokens))
	}
	if w.config.Program.IsZero() {
		w.config = escrow.Config{
			Program: program, Authority: w.authority.PublicKey(), Mint: mint, Delay: time.Hour,
			Terms: escrow.ConfigTerms{
				Treasury: w.authority.PublicKey(), Arbiter: w.arbiter.PublicKey(), MaxSlashBps: 3_000, MaxDelegationBps: 10_000,
				SlashWindow: window, SlashHold: hold, Cooldown: cooldown,
			},
		}
	}
	w.configure(w.config)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tokens(of *signer.Keypair) chain.Address {
	w.t.Helper()
	address, err := chain.TokenAddress(of.PublicKey(), wallet("mint").PublicKey())
	w.must(err)
	return address
}

// try prepares the instructions and drives them to their end.
func (w *world) try(by *signer.Keypair, instructions []chain.Instruction, err error) (outbox.Outcome, error) {
	w.t.Helper()
	w.must(err)
	ctx := w.t.Context()
	record, err := outbox.Prepare(ctx, w.on, by, "test", instructions, 1)
	if err != nil {
		return outbox.Outcome{}, err
	}
	for range 400 {
		outcome, err := outbox.Drive(ctx, w.on, record)
		w.must(err)
		if outcome.State != outbox.Pending {
			return outcome, nil
		}
		w.tick()
	}
	w.t.Fatal("the transaction neither landed nor expired")
	return outbox.Outcome{}, nil
}

func (w *world) land(by *signer.Keypair, instructions []chain.Instruction, err error) {
	w.t.Helper()
	outcome, err := w.try(by, instructions, err)
	w.must(err)
	if outcome.State != outbox.Landed {
		w.t.Fatalf("transaction %s: %v", outcome.State, outcome.Failure)
	}
}

// refused expects the program's own error code.
func (w *world) refused(code uint32, by *signer.Keypair, instructions []chain.Instruction, err error) {
	w.t.Helper()
	_, err = w.try(by, instructions, err)
	if failure, ok := errors.AsType[*chain.Failure](err); !ok || !failure.IsCustom(code) {
		w.t.Errorf("got %v, want code %d", err, code)
	}
}

func (w *world) bond(by *signer.Keypair, amount money.Amount) {
	w.t.Helper()
	instructions, err := stake.Bond(w.pool, by.PublicKey(), amount)
	w.land(by, instructions, err)
}

// open makes the pool and bonds in it, in one transaction.
func (w *world) open(amount money.Amount) {
	w.t.Helper()
	create, err := stake.CreatePool(w.pool)
	w.must(err)
	bond, err := stake.Bond(w.pool, w.owner.PublicKey(), amount)
	w.land(w.owner, append(create, bond...), err)
}

func (w *world) unbond(by *signer.Keypair, shares uint64) {
	w.t.Helper()
	instructions, err := stake.Unbond(w.pool, by.PublicKey(), shares)
	w.land(by, instructions, err)
}

func (w *world) withdraw(by *signer.Keypair) {
	w.t.Helper()
	instructions, err := stake.Withdraw(w.pool, by.PublicKey())
	w.land(by, instructions, err)
}

func (w *world) propose(amount money.Amount) {
	w.t.Helper()
	instructions, err := stake.ProposeSlash(w.pool, w.authority.PublicKey(), amount, stake.RentedOffline, stake.Evidence{1})
	w.land(w.authority, instructions, err)
}

func (w *world) read(addresses ...chain.Address) []chain.Account {
	w.t.Helper()
	accounts, err := w.on.Accounts(w.t.Context(), chain.Finalized, addresses...)
	w.must(err)
	return accounts
}

func (w *world) facts() stake.PoolFacts {
	w.t.Helper()
	account, err := w.pool.Account()
	w.must(err)
	vault, err := w.pool.Vault()
	w.must(err)
	accounts := w.read(account, vault)
	facts, err := stake.VerifyPool(w.pool, accounts[0], accounts[1])
	w.must(err)
	return facts
}

func (w *world) position(of *signer.Keypair) stake.PositionFacts {
	w.t.Helper()
	address, err := w.pool.Position(of.PublicKey())
	w.must(err)
	facts, err := stake.VerifyPosition(w.pool, of.PublicKey(), w.read(address)[0])
	w.must(err)
	return facts
}

func (w *world) balance(of *signer.Keypair) money.Amount {
	w.t.Helper()
	amount, err := escrow.Balance(w.read(w.tokens(of))[0])
	w.must(err)
	return amount
}

func mintData(decimals uint8, supply uint64) []byte {
	data := make([]byte, 82)
	binary.LittleEndian.PutUint64(data[36:], supply)
	data[44], data[45] = decimals, 1
	return data
}
