// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/chaintest"
)

// elfEnv names another build of the program to test instead of the committed one.
const elfEnv = "BOURSE_PROGRAM_ELF"

const (
	finalLag  = 4
	sol       = 1_000_000_000
	allTokens = 1_000_000_000_000
)

// lab is a local chain with the real program, a mint, a market's configuration and funded wallets.
type lab struct {
	t         *testing.T
	sim       *chaintest.Sim
	client    *chain.Client
	buyer     *signer.Keypair
	supplier  *signer.Keypair
	stranger  *signer.Keypair
	arbiter   *signer.Keypair
	authority *signer.Keypair
	terms     escrow.Terms
	config    escrow.Config
}

func wallet(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

func newLab(t *testing.T) *lab {
	t.Helper()
	process := chaintest.Run(t, chaintest.Config{Manual: true, ConfirmLag: new(0), FinalLag: new(finalLag), Seed: t.Name()})
	l := &lab{
		t: t, sim: process.Sim, client: chain.NewClient(process.RPC, chain.Options{}),
		buyer: wallet("buyer"), supplier: wallet("supplier"), stranger: wallet("stranger"),
		arbiter: wallet("arbiter"), authority: wallet("authority"),
	}
	program, mint := wallet("program").PublicKey(), wallet("mint").PublicKey()
	path := os.Getenv(elfEnv)
	if path == "" {
		path = "../../program/bourse.so"
	}
	elf, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l.must(l.sim.AddProgram(t.Context(), program.String(), elf))
	l.set(mint, chain.TokenProgram, mintData(8, allTokens, false))
	for _, owner := range []*signer.Keypair{l.buyer, l.supplier, l.stranger, l.arbiter, l.authority} {
		l.set(owner.PublicKey(), chain.SystemProgram, nil)
	}
	l.set(l.tokens(l.buyer.PublicKey(), mint), chain.TokenProgram, tokenData(mint, l.buyer.PublicKey(), allTokens))
	stats, err := l.sim.Stats(t.Context())
	l.must(err)
	l.config = escrow.Config{
		Program: program, Authority: l.authority.PublicKey(), Mint: mint, Delay: time.Hour, Terms: escrow.ConfigTerms{
			Treasury: wallet("treasury").PublicKey(), Arbiter: l.arbiter.PublicKey(),
			MaxBuyerFeeBps: 225, MaxSupplierFeeBps: 25, MaxArbiterCapBps: 2_000, MinDisputeDelay: 10 * time.Minute,
			MaxSlashBps: 1_000, MaxDelegationBps: 10_000, SlashWindow: time.Hour, SlashHold: 2 * time.Hour, Cooldown: 14 * 24 * time.Hour,
		},
	}
	config, _, err := escrow.ConfigAddress(program, l.authority.PublicKey())
	l.must(err)
	l.terms = escrow.Terms{
		Program: program, Config: config, Buyer: l.buyer.PublicKey(), Supplier: l.supplier.PublicKey(),
		Treasury: l.config.Terms.Treasury, Arbiter: l.arbiter.PublicKey(), ArbiterCapBps: 2_000, DisputeDelay: 10 * time.Minute, Mint: mint,
		ID:       escrow.LeaseID("hub", "suppliers", "train-1", "uid"),
		Deposit:  100_250_000,
		Deadline: time.Unix(stats.Time+3600, 0).UTC(),
		Fees:     money.Fees{BuyerBps: 25, SupplierBps: 25, BurnBps: 6_000},
		Decimals: 8,
	}
	l.step(l.authority)(escrow.CreateConfig(l.config))
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) set(address, owner chain.Address, data []byte) {
	l.t.Helper()
	l.must(l.sim.SetAccount(l.t.Context(), address.String(), &chaintest.Account{Lamports: 10 * sol, Owner: owner.String(), Data: data}))
}

func (l *lab) tokens(owner, mint chain.Address) chain.Address {
	l.t.Helper()
	address, err := chain.TokenAddress(owner, mint)
	l.must(err)
	return address
}

// try prepares the instructions and drives them to their end.
func (l *lab) try(by *signer.Keypair, instructions []chain.Instruction, err error) (outbox.Outcome, error) {
	l.t.Helper()
	l.must(err)
	ctx := l.t.Context()
	record, err := outbox.Prepare(ctx, l.client, by, "test", instructions, 1)
	if err != nil {
		return outbox.Outcome{}, err
	}
	for range 400 {
		outcome, err := outbox.Drive(ctx, l.client, record)
		l.must(err)
		if outcome.State != outbox.Pending {
			return outcome, nil
		}
		l.must(l.sim.Tick(ctx, 1))
	}
	l.t.Fatal("the transaction neither landed nor expired")
	return outbox.Outcome{}, nil
}

func (l *lab) land(by *signer.Keypair, instructions []chain.Instruction, err error) {
	l.t.Helper()
	outcome, err := l.try(by, instructions, err)
	l.must(err)
	if outcome.State != outbox.Landed {
		l.t.Fatalf("transaction %s: %v", outcome.State, outcome.Failure)
	}
}

// step returns a function that lands what a builder built, and checks what ReadMessage says of it against what the signer lost.
func (l *lab) step(by *signer.Keypair) func([]chain.Instruction, error) {
	return func(instructions []chain.Instruction, err error) {
		l.t.Helper()
		l.must(err)
		message, err := chain.CompileMessage(by.PublicKey(), instructions, chain.Hash{})
		l.must(err)
		intent, err := escrow.ReadMessage(message, l.config.Program)
		l.must(err)
		lamports, tokens := l.wealth(by.PublicKey())
		l.land(by, instructions, nil)
		lamportsAfter, tokensAfter := l.wealth(by.PublicKey())
		if lost := lamports - lamportsAfter; lamports > lamportsAfter && lost > intent.Lamports {
			l.t.Errorf("%s took %d lamports, and was read to take at most %d", intent.Kind, lost, intent.Lamports)
		}
		if tokensAfter+intent.Tokens < tokens || intent.Tokens > 0 && tokensAfter+intent.Tokens != tokens {
			l.t.Errorf("%s left %d of %d tokens, and was read to take %d", intent.Kind, tokensAfter, tokens, intent.Tokens)
		}
	}
}

// wealth is what a wallet has in lamports and in its associated token account.
func (l *lab) wealth(owner chain.Address) (uint64, money.Amount) {
	l.t.Helper()
	account, err := l.client.Account(l.t.Context(), owner, chain.Finalized)
	l.must(err)
	return account.Lamports, l.balance(owner)
}

// refused expects the chain to refuse what a builder built, with a code of the program.
func (l *lab) refused(by *signer.Keypair, want uint32) func([]chain.Instruction, error) {
	return func(instructions []chain.Instruction, err error) {
		l.t.Helper()
		_, err = l.try(by, instructions, err)
		if failure, ok := errors.AsType[*chain.Failure](err); !ok || !failure.IsCustom(want) {
			l.t.Errorf("got %v, want code %d", err, want)
		}
	}
}

func (l *lab) open() {
	l.t.Helper()
	l.step(l.buyer)(escrow.Open(l.terms))
}

// voucher signs as the buyer.
func (l *lab) voucher(gross money.Amount) chain.Signature {
	l.t.Helper()
	lease, err := l.terms.Address()
	l.must(err)
	signature, err := l.buyer.Sign(context.Background(), escrow.VoucherMessage(l.terms.Program, lease, gross))
	l.must(err)
	return signature
}

func (l *lab) claim(by *signer.Keypair, gross money.Amount) {
	l.t.Helper()
	l.step(by)(escrow.Claim(l.terms, by.PublicKey(), gross, l.voucher(gross)))
}

func (l *lab) close(by *signer.Keypair) {
	l.t.Helper()
	l.step(by)(escrow.Close(l.terms, by.PublicKey()))
}

func (l *lab) verify() (escrow.Facts, error) {
	l.t.Helper()
	lease, err := l.terms.Address()
	l.must(err)
	vault, err := l.terms.Vault()
	l.must(err)
	accounts, err := l.client.Accounts(l.t.Context(), chain.Finalized, lease, vault)
	l.must(err)
	return escrow.Verify(l.terms, accounts[0], accounts[1])
}

// balance reads what a wallet's associated token account holds; an account that is not there holds nothing.
func (l *lab) balance(owner chain.Address) money.Amount {
	l.t.Helper()
	account, err := l.client.Account(l.t.Context(), l.tokens(owner, l.terms.Mint), chain.Finalized)
	l.must(err)
	if !account.Exists {
		return 0
	}
	amount, err := escrow.Balance(account)
	l.must(err)
	return amount
}

func (l *lab) supply() money.Amount {
	l.t.Helper()
	account, err := l.client.Account(l.t.Context(), l.terms.Mint, chain.Finalized)
	l.must(err)
	supply, err := escrow.Supply(account)
	l.must(err)
	return supply
}

func (l *lab) movements(known ...escrow.Movement) []escrow.Movement {
	l.t.Helper()
	movements, err := escrow.ReadMovements(l.t.Context(), l.client, l.terms, known...)
	l.must(err)
	return movements
}

// checkResumed reads on after each movement and expects the following ones, whatever transaction they share.
func (l *lab) checkResumed(all []escrow.Movement) {
	l.t.Helper()
	for i := range all {
		if diff := cmp.Diff(all[i+1:], l.movements(all[:i+1]...), cmpopts.EquateEmpty()); diff != "" {
			l.t.Errorf("movements since number %d (-all +since):\n%s", i, diff)
		}
		if i == 0 {
			continue
		}
		if diff := cmp.Diff(all[i+1:], l.movements(all[1:i+1]...), cmpopts.EquateEmpty()); diff != "" {
			l.t.Errorf("movements since number %d without the opening (-all +since):\n%s", i, diff)
		}
	}
}

func mintData(decimals uint8, supply uint64, freezable bool) []byte {
	data := make([]byte, 82)
	binary.LittleEndian.PutUint64(data[36:], supply)
	data[44], data[45] = decimals, 1
	if freezable {
		data[46], data[50] = 1, 7
	}
	return data
}

func tokenData(mint, owner chain.Address, amount uint64) []byte {
	data := make([]byte, 165)
	copy(data, mint[:])
	copy(data[32:], owner[:])
	binary.LittleEndian.PutUint64(data[64:], amount)
	data[108] = 1
	return data
}
