// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	computebudget "github.com/gagliardetto/solana-go/programs/compute-budget"
	"github.com/gagliardetto/solana-go/programs/memo"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/test/chaintest"
)

func TestTheClusterDescribesItself(t *testing.T) {
	w := start(t, chaintest.Config{Seed: "fixed"})
	w.tick(40)
	health, err := w.rpc.GetHealth(w.ctx())
	w.check(err)
	if health != "ok" {
		t.Errorf("health = %q", health)
	}
	version, err := w.rpc.GetVersion(w.ctx())
	w.check(err)
	if !strings.Contains(version.SolanaCore, "litesvm") {
		t.Errorf("version = %q does not name the runtime", version.SolanaCore)
	}
	epoch, err := w.rpc.GetEpochInfo(w.ctx(), rpc.CommitmentConfirmed)
	w.check(err)
	if epoch.AbsoluteSlot != 38 || epoch.BlockHeight != 38 || epoch.Epoch != 0 {
		t.Errorf("epoch info = %+v, want slot and height 38 in epoch 0", epoch)
	}
	genesis, err := w.rpc.GetGenesisHash(w.ctx())
	w.check(err)
	other, err := start(t, chaintest.Config{Seed: "fixed"}).rpc.GetGenesisHash(w.ctx())
	w.check(err)
	third, err := start(t, chaintest.Config{}).rpc.GetGenesisHash(w.ctx())
	w.check(err)
	if genesis != other || genesis == third {
		t.Errorf("genesis hashes %s, %s, %s: want the first two equal, the third not", genesis, other, third)
	}
	if _, err := w.rpc.GetClusterNodes(w.ctx()); code(err) != -32601 {
		t.Errorf("a method that is not there: %v", err)
	}
}

func TestAccountsAreReadWithTheirBytes(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, missing := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	if _, err := w.rpc.GetAccountInfo(w.ctx(), missing); !errors.Is(err, rpc.ErrNotFound) {
		t.Errorf("a missing account: %v, want not found", err)
	}
	info, err := w.rpc.GetAccountInfo(w.ctx(), payer.PublicKey())
	w.check(err)
	if info.Value.Lamports != solana.LAMPORTS_PER_SOL || info.Value.Owner != solana.SystemProgramID || info.Value.RentEpoch.String() != "18446744073709551615" {
		t.Errorf("account = %+v", info.Value)
	}
	many, err := w.rpc.GetMultipleAccounts(w.ctx(), payer.PublicKey(), missing, solana.TokenProgramID)
	w.check(err)
	if many.Value[0] == nil || many.Value[1] != nil || many.Value[2] == nil || !many.Value[2].Executable {
		t.Errorf("accounts = %+v, want a wallet, nothing, and a program", many.Value)
	}
	later := uint64(1_000_000)
	_, err = w.rpc.GetAccountInfoWithOpts(w.ctx(), payer.PublicKey(), &rpc.GetAccountInfoOpts{MinContextSlot: &later})
	if code(err) != -32016 {
		t.Errorf("a context slot in the future: %v, want -32016", err)
	}
}

func TestALandedTransactionIsFoundAgain(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	var sent []string
	for i := range 5 {
		signature := w.land([]solana.PrivateKey{payer},
			system.NewTransferInstruction(1_000_000, payer.PublicKey(), to).Build(),
			memo.NewMemoInstruction(fmt.Appendf(nil, "part %d", i), payer.PublicKey()).Build())
		sent = append([]string{signature.String()}, sent...)
	}
	list := func(opts rpc.GetSignaturesForAddressOpts) []string {
		t.Helper()
		opts.Commitment = rpc.CommitmentConfirmed
		found, err := w.rpc.GetSignaturesForAddressWithOpts(w.ctx(), to, &opts)
		w.check(err)
		names := []string{}
		for _, entry := range found {
			names = append(names, entry.Signature.String())
			if entry.Memo == nil || !strings.HasPrefix(*entry.Memo, "[6] part ") || entry.BlockTime == nil {
				t.Errorf("entry = %+v, want a memo and a time", entry)
			}
		}
		return names
	}
	two := 2
	cases := map[string]struct {
		opts rpc.GetSignaturesForAddressOpts
		want []string
	}{
		"all, newest first": {rpc.GetSignaturesForAddressOpts{}, sent},
		"limited":           {rpc.GetSignaturesForAddressOpts{Limit: &two}, sent[:2]},
		"before one":        {rpc.GetSignaturesForAddressOpts{Before: solana.MustSignatureFromBase58(sent[1])}, sent[2:]},
		"until one":         {rpc.GetSignaturesForAddressOpts{Until: solana.MustSignatureFromBase58(sent[3])}, sent[:3]},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, list(tc.opts)); diff != "" {
				t.Errorf("signatures (-want +got):\n%s", diff)
			}
		})
	}
	w.wantTransaction(solana.MustSignatureFromBase58(sent[0]), payer.PublicKey(), to)
}

// wantTransaction reads a transfer of 1000000 lamports back in two encodings.
func (w *world) wantTransaction(signature solana.Signature, from, to solana.PublicKey) {
	w.t.Helper()
	version := uint64(0)
	for _, encoding := range []solana.EncodingType{solana.EncodingBase64, solana.EncodingJSON} {
		got, err := w.rpc.GetTransaction(w.ctx(), signature, &rpc.GetTransactionOpts{
			Encoding: encoding, Commitment: rpc.CommitmentConfirmed, MaxSupportedTransactionVersion: &version,
		})
		w.check(err)
		tx, err := got.Transaction.GetTransaction()
		w.check(err)
		if tx.Signatures[0] != signature || tx.Message.AccountKeys[0] != from {
			w.t.Errorf("%s: transaction = %v", encoding, tx)
		}
		if got.Meta.Fee != feeOfOne || got.Meta.Err != nil || *got.Meta.ComputeUnitsConsumed == 0 || len(got.Meta.LogMessages) == 0 {
			w.t.Errorf("%s: meta = %+v", encoding, got.Meta)
		}
		index := 0
		for i, key := range tx.Message.AccountKeys {
			if key == to {
				index = i
			}
		}
		if paid := got.Meta.PostBalances[index] - got.Meta.PreBalances[index]; paid != 1_000_000 {
			w.t.Errorf("%s: receiver got %d lamports, want 1000000", encoding, paid)
		}
	}
	unknown := signature
	unknown[5] ^= 1
	if _, err := w.rpc.GetTransaction(w.ctx(), unknown, &rpc.GetTransactionOpts{Commitment: rpc.CommitmentConfirmed}); !errors.Is(err, rpc.ErrNotFound) {
		w.t.Errorf("unknown transaction: %v, want not found", err)
	}
	if _, err := w.rpc.GetTransaction(w.ctx(), signature, &rpc.GetTransactionOpts{Commitment: rpc.CommitmentProcessed}); code(err) != codeParams {
		w.t.Errorf("processed transaction: %v, want a refusal", err)
	}
}

func TestAnOldStatusNeedsASearch(t *testing.T) {
	w := start(t, chaintest.Config{})
	tx := w.transfer(w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey(), 1_000_000)
	w.check(w.send(tx))
	w.tick(2*maxAge + 2)
	recent, err := w.rpc.GetSignatureStatuses(w.ctx(), false, tx.Signatures[0])
	w.check(err)
	if recent.Value[0] != nil {
		t.Errorf("status without a search = %+v, want none", recent.Value[0])
	}
	if got := w.level(tx); got != rpc.ConfirmationStatusFinalized {
		t.Errorf("status with a search = %q, want finalized", got)
	}
}

func TestASimulationChangesNothingAndTellsTheCost(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 1_000_000)
	simulated, err := w.rpc.SimulateTransactionWithOpts(w.ctx(), tx, &rpc.SimulateTransactionOpts{
		SigVerify: true, Commitment: rpc.CommitmentConfirmed,
		Accounts: &rpc.SimulateTransactionAccountsOpts{Encoding: solana.EncodingBase64, Addresses: []solana.PublicKey{to}},
	})
	w.check(err)
	if simulated.Value.Err != nil || *simulated.Value.UnitsConsumed != 150 || simulated.Value.Accounts[0].Lamports != 1_000_000 {
		t.Errorf("simulation = %+v", simulated.Value)
	}
	failing := w.transfer(payer, to, 5*solana.LAMPORTS_PER_SOL)
	failing.Message.RecentBlockhash = solana.Hash{7}
	simulated, err = w.rpc.SimulateTransactionWithOpts(w.ctx(), failing, &rpc.SimulateTransactionOpts{ReplaceRecentBlockhash: true, Commitment: rpc.CommitmentConfirmed})
	w.check(err)
	if simulated.Value.Err == nil || len(simulated.Value.Logs) == 0 {
		t.Errorf("simulation = %+v, want a failure with logs", simulated.Value)
	}
	w.tick(1)
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 0 {
		t.Errorf("receiver has %d lamports after a simulation", got)
	}
}

func TestASimulationSeesTheStateOfItsCommitment(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, poor := w.funded(solana.LAMPORTS_PER_SOL), newKey(t)
	blockhash := w.blockhash(rpc.CommitmentFinalized).Blockhash
	w.check(w.send(w.transfer(payer, poor.PublicKey(), 10_000_000)))
	w.tick(1)
	tx := w.signed(blockhash, []solana.PrivateKey{poor}, system.NewTransferInstruction(1_000_000, poor.PublicKey(), payer.PublicKey()).Build())
	for commitment, want := range map[rpc.CommitmentType]any{rpc.CommitmentProcessed: nil, rpc.CommitmentConfirmed: "AccountNotFound"} {
		got, err := w.rpc.SimulateTransactionWithOpts(w.ctx(), tx, &rpc.SimulateTransactionOpts{Commitment: commitment})
		w.check(err)
		if diff := cmp.Diff(want, got.Value.Err); diff != "" {
			t.Errorf("%s (-want +got):\n%s", commitment, diff)
		}
	}
	if got := w.lamports(poor.PublicKey(), rpc.CommitmentProcessed); got != 10_000_000 {
		t.Errorf("balance = %d after the simulations, want 10000000", got)
	}
}

func TestFeesFollowTheOffer(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	tx := w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{payer},
		computebudget.NewSetComputeUnitLimitInstruction(20_000).Build(),
		computebudget.NewSetComputeUnitPriceInstruction(50_000).Build(),
		system.NewTransferInstruction(1, payer.PublicKey(), payer.PublicKey()).Build())
	const want = feeOfOne + 20_000*50_000/1_000_000
	quoted, err := w.rpc.GetFeeForMessage(w.ctx(), tx.Message.ToBase64(), rpc.CommitmentConfirmed)
	w.check(err)
	if *quoted.Value != want {
		t.Errorf("quoted fee = %d, want %d", *quoted.Value, want)
	}
	w.check(w.send(tx))
	w.tick(1)
	if paid := solana.LAMPORTS_PER_SOL - w.lamports(payer.PublicKey(), rpc.CommitmentProcessed); paid != want {
		t.Errorf("paid fee = %d, want %d", paid, want)
	}
	fees, err := w.rpc.GetRecentPrioritizationFees(w.ctx(), []solana.PublicKey{payer.PublicKey()})
	w.check(err)
	if last := fees[len(fees)-1]; last.PrioritizationFee != 50_000 {
		t.Errorf("last priority fee = %+v, want 50000", last)
	}
}

func TestTimeFollowsTheClockAndItsWarps(t *testing.T) {
	w := start(t, chaintest.Config{})
	now := func() int64 {
		t.Helper()
		w.tick(1)
		stats, err := w.Stats(w.ctx())
		w.check(err)
		blockTime, err := w.rpc.GetBlockTime(w.ctx(), stats.Slot)
		w.check(err)
		if int64(*blockTime) != stats.Time {
			t.Errorf("block time = %d, want %d", *blockTime, stats.Time)
		}
		return stats.Time
	}
	before := now()
	if apart := time.Since(time.Unix(before, 0)); apart < -time.Second || apart > 10*time.Second {
		t.Errorf("the chain is %s behind the wall clock", apart)
	}
	w.check(w.WarpTime(w.ctx(), time.Hour))
	if moved := now() - before; moved < 3600 || moved > 3610 {
		t.Errorf("time moved by %d seconds, want an hour", moved)
	}
}

func TestRequestIDsComeBackAsTheyWereWritten(t *testing.T) {
	w := start(t, chaintest.Config{})
	cases := map[string]string{
		"beyond 2^53": `18446744073709551615`,
		"small":       `7`,
		"text":        `"9b4f"`,
		"number text": `"18446744073709551615"`,
	}
	for name, id := range cases {
		t.Run(name, func(t *testing.T) {
			body := `{"jsonrpc":"2.0","id": ` + id + `,"method":"getHealth"}`
			if got, want := w.post(body), `{"jsonrpc":"2.0","result":"ok","id":`+id+`}`; got != want {
				t.Errorf("answer = %s, want %s", got, want)
			}
		})
	}
	batch := `[{"jsonrpc":"2.0","id":1,"method":"getHealth"},{"jsonrpc":"2.0","id":2,"method":"none"}]`
	want := `[{"jsonrpc":"2.0","result":"ok","id":1},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":2}]`
	if got := w.post(batch); got != want {
		t.Errorf("batch = %s, want %s", got, want)
	}
}

// post sends raw text and returns what comes back.
func (w *world) post(body string) string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.ctx(), http.MethodPost, w.RPC, strings.NewReader(body))
	w.check(err)
	response, err := http.DefaultClient.Do(request)
	w.check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	w.check(err)
	return string(answer)
}
