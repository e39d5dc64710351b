// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/rpc"

	"github.com/bourse-dev/bourse/test/chaintest"
)

func TestATransferIsProcessedThenConfirmedThenFinalized(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 2_000_000)
	w.check(w.send(tx))
	if got := w.level(tx); got != "" {
		t.Errorf("before a block: %q, want nothing", got)
	}
	steps := []struct {
		blocks int
		want   rpc.ConfirmationStatusType
	}{
		{1, rpc.ConfirmationStatusProcessed},
		{confirmLag - 1, rpc.ConfirmationStatusProcessed},
		{1, rpc.ConfirmationStatusConfirmed},
		{finalLag - confirmLag - 1, rpc.ConfirmationStatusConfirmed},
		{1, rpc.ConfirmationStatusFinalized},
	}
	for _, step := range steps {
		w.tick(step.blocks)
		if got := w.level(tx); got != step.want {
			t.Errorf("after %d more blocks: %q, want %q", step.blocks, got, step.want)
		}
	}
	if got := w.lamports(to, rpc.CommitmentFinalized); got != 2_000_000 {
		t.Errorf("receiver has %d lamports, want 2000000", got)
	}
	if got, want := w.lamports(payer.PublicKey(), rpc.CommitmentFinalized), uint64(solana.LAMPORTS_PER_SOL-2_000_000-feeOfOne); got != want {
		t.Errorf("payer has %d lamports, want %d", got, want)
	}
}

func TestReadsHonourTheirCommitment(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	w.check(w.send(w.transfer(payer, to, 1_000_000)))
	w.tick(1)
	want := func(processed, confirmed, finalized uint64) {
		t.Helper()
		for commitment, lamports := range map[rpc.CommitmentType]uint64{
			rpc.CommitmentProcessed: processed, rpc.CommitmentConfirmed: confirmed, rpc.CommitmentFinalized: finalized,
		} {
			if got := w.lamports(to, commitment); got != lamports {
				t.Errorf("%s balance = %d, want %d", commitment, got, lamports)
			}
		}
	}
	want(1_000_000, 0, 0)
	w.tick(confirmLag)
	want(1_000_000, 1_000_000, 0)
	w.tick(finalLag - confirmLag)
	want(1_000_000, 1_000_000, 1_000_000)
	if p, c, f := w.height(rpc.CommitmentProcessed), w.height(rpc.CommitmentConfirmed), w.height(rpc.CommitmentFinalized); p-c != confirmLag || p-f != finalLag {
		t.Errorf("heights %d, %d, %d: want lags of %d and %d", p, c, f, confirmLag, finalLag)
	}
}

func TestAPreflightRefusesWhatCannotSucceed(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	spoiled := w.transfer(payer, to, 1_000_000)
	spoiled.Signatures[0][3] ^= 1
	cases := map[string]struct {
		tx    *solana.Transaction
		code  int
		cause string
	}{
		"more than the payer has":   {w.transfer(payer, to, 5*solana.LAMPORTS_PER_SOL), codePreflight, "map[InstructionError:[0 map[Custom:1]]]"},
		"a payer that is not there": {w.transfer(newKey(t), to, 1), codePreflight, "AccountNotFound"},
		"an unknown blockhash": {
			w.signed(solana.Hash{9}, []solana.PrivateKey{payer}, system.NewTransferInstruction(1, payer.PublicKey(), to).Build()),
			codePreflight, "BlockhashNotFound",
		},
		"less than the rent of a new account": {w.transfer(payer, to, 1), codePreflight, "map[InsufficientFundsForRent:map[account_index:1]]"},
		"a spoiled signature":                 {spoiled, codeSignature, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := w.send(tc.tx)
			if got := code(err); got != tc.code {
				t.Fatalf("error = %v, want code %d", err, tc.code)
			}
			if tc.cause == "" {
				return
			}
			if got := cause(t, err); got != tc.cause {
				t.Errorf("cause = %s, want %s", got, tc.cause)
			}
		})
	}
	w.tick(1)
	if got, want := w.lamports(payer.PublicKey(), rpc.CommitmentProcessed), uint64(solana.LAMPORTS_PER_SOL); got != want {
		t.Errorf("payer has %d lamports, want all %d", got, want)
	}
}

func TestAFailureWithoutPreflightLandsAndCostsItsFee(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 5*solana.LAMPORTS_PER_SOL)
	w.check(w.sendBlind(tx))
	w.tick(1)
	status := w.status(tx)
	if status == nil || status.Err == nil {
		t.Fatalf("status = %+v, want a landed failure", status)
	}
	if got, want := w.lamports(payer.PublicKey(), rpc.CommitmentProcessed), uint64(solana.LAMPORTS_PER_SOL-feeOfOne); got != want {
		t.Errorf("payer has %d lamports, want %d", got, want)
	}
}

func TestTheSameTransactionLandsOnce(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 1_000_000)
	w.check(w.send(tx))
	w.check(w.send(tx))
	w.tick(1)
	err := w.send(tx)
	if code(err) != codePreflight || cause(t, err) != "AlreadyProcessed" {
		t.Errorf("sent again: %v, want AlreadyProcessed", err)
	}
	w.check(w.sendBlind(tx))
	w.tick(1)
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 1_000_000 {
		t.Errorf("receiver has %d lamports, want 1000000", got)
	}
}

func TestABlockhashExpiresAfter150Blocks(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	latest := w.blockhash(rpc.CommitmentProcessed)
	if got, want := latest.LastValidBlockHeight, w.height(rpc.CommitmentProcessed)+maxAge; got != want {
		t.Errorf("last valid height = %d, want %d", got, want)
	}
	with := func(lamports uint64) *solana.Transaction {
		return w.signed(latest.Blockhash, []solana.PrivateKey{payer}, system.NewTransferInstruction(lamports, payer.PublicKey(), to).Build())
	}
	valid := func() bool {
		answer, err := w.rpc.IsBlockhashValid(w.ctx(), latest.Blockhash, rpc.CommitmentProcessed)
		w.check(err)
		return answer.Value
	}
	last, late := with(1_000_000), with(2_000_000)
	w.tick(maxAge)
	if !valid() {
		t.Error("the blockhash is not valid at its last valid height")
	}
	w.check(w.sendBlind(last))
	w.tick(1)
	if w.level(last) == "" {
		t.Error("a transaction did not land that was sent at its last valid height")
	}
	if valid() {
		t.Error("the blockhash is valid after its last valid height")
	}
	w.tick(confirmLag) // a preflight judges the blockhash at the confirmed block
	if err := w.send(late); code(err) != codePreflight || cause(t, err) != "BlockhashNotFound" {
		t.Errorf("late: %v, want BlockhashNotFound", err)
	}
	w.check(w.sendBlind(late))
	w.tick(1)
	if got := w.level(late); got != "" {
		t.Errorf("an expired transaction is %s", got)
	}
	stats, err := w.Stats(w.ctx())
	w.check(err)
	if stats.Expired != 1 {
		t.Errorf("expired = %d, want 1", stats.Expired)
	}
}

func TestARollbackTakesAConfirmedTransactionBack(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	before := w.height(rpc.CommitmentProcessed)
	tx := w.transfer(payer, to, 1_000_000)
	w.check(w.send(tx))
	w.tick(1 + confirmLag)
	if got := w.level(tx); got != rpc.ConfirmationStatusConfirmed {
		t.Fatalf("before the fork: %q, want confirmed", got)
	}
	orphan := w.blockhash(rpc.CommitmentProcessed).Blockhash
	slot, err := w.rpc.GetSlot(w.ctx(), rpc.CommitmentProcessed)
	w.check(err)
	lost, err := w.Rollback(w.ctx(), 1+confirmLag, false)
	w.check(err)
	if len(lost) != 1 || lost[0] != tx.Signatures[0].String() {
		t.Errorf("lost %v, want %s", lost, tx.Signatures[0])
	}
	if got := w.level(tx); got != "" {
		t.Errorf("after the fork: %q, want nothing", got)
	}
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 0 {
		t.Errorf("receiver has %d lamports after the fork", got)
	}
	if got := w.height(rpc.CommitmentProcessed); got != before {
		t.Errorf("height = %d, want %d again", got, before)
	}
	if answer, err := w.rpc.IsBlockhashValid(w.ctx(), orphan, rpc.CommitmentProcessed); err != nil || answer.Value {
		t.Errorf("a lost block's hash is valid: %v, %v", answer, err)
	}
	w.tick(1)
	if next, err := w.rpc.GetSlot(w.ctx(), rpc.CommitmentProcessed); err != nil || next <= slot {
		t.Errorf("slot after the fork = %d, %v, want more than %d", next, err, slot)
	}
	w.check(w.send(tx))
	w.tick(1)
	if got := w.level(tx); got != rpc.ConfirmationStatusProcessed {
		t.Errorf("sent again: %q, want processed", got)
	}
}

func TestARollbackCanLandTransactionsAgain(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 1_000_000)
	w.check(w.send(tx))
	w.tick(2)
	_, err := w.Rollback(w.ctx(), 2, true)
	w.check(err)
	w.tick(1)
	if got := w.level(tx); got != rpc.ConfirmationStatusProcessed {
		t.Errorf("level = %q, want processed", got)
	}
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 1_000_000 {
		t.Errorf("receiver has %d lamports, want 1000000", got)
	}
}

func TestAFinalizedBlockCannotBeTakenBack(t *testing.T) {
	w := start(t, chaintest.Config{})
	w.tick(2 * finalLag)
	if _, err := w.Rollback(w.ctx(), finalLag+1, false); err == nil {
		t.Error("a finalized block was taken back")
	}
	_, err := w.Rollback(w.ctx(), finalLag, false)
	w.check(err)
}

func TestWhatIsFinalStaysFinalAfterARollback(t *testing.T) {
	w := start(t, chaintest.Config{})
	w.tick(2 * finalLag)
	final := w.height(rpc.CommitmentFinalized)
	_, err := w.Rollback(w.ctx(), finalLag-1, false)
	w.check(err)
	for range 2 * finalLag {
		if got := w.height(rpc.CommitmentFinalized); got < final {
			t.Fatalf("finalized height went from %d back to %d", final, got)
		}
		w.tick(1)
	}
	if got := w.height(rpc.CommitmentFinalized); got <= final {
		t.Errorf("finalized height is still %d", got)
	}
}

func TestACallOfAMissingProgramCostsItsFee(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	tx := w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{payer},
		solana.NewInstruction(newKey(t).PublicKey(), nil, []byte{1}))
	if err := w.send(tx); cause(t, err) != "ProgramAccountNotFound" {
		t.Errorf("preflight: %v", err)
	}
	w.check(w.sendBlind(tx))
	w.tick(1)
	if status := w.status(tx); status == nil || status.Err != "ProgramAccountNotFound" {
		t.Errorf("status = %+v, want a landed failure", status)
	}
	if got, want := w.lamports(payer.PublicKey(), rpc.CommitmentProcessed), uint64(solana.LAMPORTS_PER_SOL-feeOfOne); got != want {
		t.Errorf("payer has %d lamports, want %d", got, want)
	}
}

func TestADurableNonceOutlivesBlockhashesAndIsUsedOnce(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer, to, account := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey(), newKey(t)
	rent, err := w.rpc.GetMinimumBalanceForRentExemption(w.ctx(), solana.NonceStateSize, rpc.CommitmentConfirmed)
	w.check(err)
	w.land([]solana.PrivateKey{payer, account},
		system.NewCreateAccountInstruction(rent, solana.NonceStateSize, solana.SystemProgramID, payer.PublicKey(), account.PublicKey()).Build(),
		system.NewInitializeNonceAccountInstruction(payer.PublicKey(), account.PublicKey(), solana.SysVarRecentBlockHashesPubkey, solana.SysVarRentPubkey).Build())
	withNonce := func(nonce solana.Hash, lamports uint64) *solana.Transaction {
		return w.signed(nonce, []solana.PrivateKey{payer},
			system.NewAdvanceNonceAccountInstruction(account.PublicKey(), solana.SysVarRecentBlockHashesPubkey, payer.PublicKey()).Build(),
			system.NewTransferInstruction(lamports, payer.PublicKey(), to).Build())
	}
	first := w.nonce(account.PublicKey())
	good, stale := withNonce(first, 1_000_000), withNonce(first, 2_000_000)
	w.tick(2 * maxAge)
	w.check(w.send(good))
	w.tick(1 + confirmLag)
	if status := w.status(good); status == nil || status.Err != nil {
		t.Fatalf("status = %+v, want a success long after any blockhash", status)
	}
	if err := w.send(stale); code(err) != codePreflight || cause(t, err) != "BlockhashNotFound" {
		t.Errorf("second use of a nonce: %v, want BlockhashNotFound", err)
	}
	second := w.nonce(account.PublicKey())
	if second == first {
		t.Fatal("the nonce did not advance")
	}
	failing, voided := withNonce(second, 5*solana.LAMPORTS_PER_SOL), withNonce(second, 1_000_000)
	w.check(w.sendBlind(failing))
	w.tick(1 + confirmLag)
	if status := w.status(failing); status == nil || status.Err == nil {
		t.Fatalf("status = %+v, want a landed failure", status)
	}
	if w.nonce(account.PublicKey()) == second {
		t.Error("a landed failure did not use the nonce up")
	}
	w.check(w.sendBlind(voided))
	w.tick(1)
	if got := w.level(voided); got != "" {
		t.Errorf("a transaction on a used nonce is %s", got)
	}
}

// nonce reads a nonce account's value at confirmed.
func (w *world) nonce(account solana.PublicKey) solana.Hash {
	w.t.Helper()
	info, err := w.rpc.GetAccountInfoWithOpts(w.ctx(), account, &rpc.GetAccountInfoOpts{Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64})
	w.check(err)
	return solana.HashFromBytes(info.GetBinary()[40:72])
}
