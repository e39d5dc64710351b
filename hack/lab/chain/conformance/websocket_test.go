// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/memo"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/ws"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// patience is how long a notification may take that must come.
const patience = 10 * time.Second

func (w *world) socket() *ws.Client {
	w.t.Helper()
	client, err := ws.Connect(w.ctx(), w.WS)
	w.check(err)
	w.t.Cleanup(client.Close)
	return client
}

// receive waits for one notification.
func receive[T any](w *world, recv func(context.Context) (T, error)) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx(), patience)
	defer cancel()
	got, err := recv(ctx)
	w.check(err)
	return got
}

// subscribed waits until the chain has a number of subscriptions.
func (w *world) subscribed(want int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx(), patience)
	defer cancel()
	for {
		stats, err := w.Stats(ctx)
		w.check(err)
		if stats.Subscriptions == want {
			return
		}
	}
}

func TestATransactionWakesItsSubscribers(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	tx := w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{payer},
		memo.NewMemoInstruction([]byte("wake up"), payer.PublicKey()).Build())
	socket := w.socket()
	account, err := socket.AccountSubscribe(payer.PublicKey(), rpc.CommitmentConfirmed)
	w.check(err)
	logs, err := socket.LogsSubscribeMentions(payer.PublicKey(), rpc.CommitmentConfirmed)
	w.check(err)
	signature, err := socket.SignatureSubscribe(tx.Signatures[0], rpc.CommitmentConfirmed)
	w.check(err)
	final, err := socket.SignatureSubscribe(tx.Signatures[0], rpc.CommitmentFinalized)
	w.check(err)
	program, err := socket.ProgramSubscribe(solana.SystemProgramID, rpc.CommitmentProcessed)
	w.check(err)
	w.subscribed(5)
	w.check(w.send(tx))
	w.tick(1)
	landed := w.status(tx).Slot
	if got := receive(w, program.Recv); got.Value.Pubkey != payer.PublicKey() || got.Context.Slot != landed {
		t.Errorf("program notification = %+v", got)
	}
	w.tick(confirmLag)
	if got := receive(w, account.Recv); got.Value.Lamports != solana.LAMPORTS_PER_SOL-feeOfOne || got.Context.Slot != landed {
		t.Errorf("account notification = %+v, want the rest in slot %d", got.Value, landed)
	}
	if got := receive(w, logs.Recv); got.Value.Signature != tx.Signatures[0] || len(got.Value.Logs) == 0 {
		t.Errorf("logs notification = %+v", got.Value)
	}
	if got := receive(w, signature.Recv); got.Value.Err != nil {
		t.Errorf("signature notification = %+v", got)
	}
	w.tick(finalLag - confirmLag)
	if got := receive(w, final.Recv); got.Context.Slot != landed {
		t.Errorf("final notification in slot %d, want %d", got.Context.Slot, landed)
	}
	// Told once, a signature's subscription is over.
	w.subscribed(3)
	account.Unsubscribe()
	w.subscribed(2)
}

func TestALandedSignatureIsToldAtOnce(t *testing.T) {
	w := start(t, chaintest.Config{})
	tx := w.transfer(w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey(), 5*solana.LAMPORTS_PER_SOL)
	w.check(w.sendBlind(tx))
	w.tick(1 + confirmLag)
	signature, err := w.socket().SignatureSubscribe(tx.Signatures[0], rpc.CommitmentConfirmed)
	w.check(err)
	if got := receive(w, signature.Recv); got.Value.Err == nil {
		t.Error("the notification does not tell the failure")
	}
}

func TestSlotsAndRootsAreAnnounced(t *testing.T) {
	w := start(t, chaintest.Config{})
	w.tick(finalLag)
	socket := w.socket()
	slots, err := socket.SlotSubscribe()
	w.check(err)
	roots, err := socket.RootSubscribe()
	w.check(err)
	w.subscribed(2)
	w.tick(1)
	if got := receive(w, slots.Recv); got.Slot != finalLag+1 || got.Parent != finalLag || got.Root != 1 {
		t.Errorf("slot = %+v, want %d after %d with root 1", got, finalLag+1, finalLag)
	}
	if got := receive(w, roots.Recv); uint64(*got) != 1 {
		t.Errorf("root = %d, want 1", *got)
	}
}

func TestAForkIsToldAgain(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	account, err := w.socket().AccountSubscribe(payer.PublicKey(), rpc.CommitmentConfirmed)
	w.check(err)
	w.subscribed(1)
	w.check(w.send(w.transfer(payer, newKey(t).PublicKey(), 1_000_000)))
	w.tick(1 + confirmLag)
	first := receive(w, account.Recv)
	_, err = w.Rollback(w.ctx(), 1+confirmLag, true)
	w.check(err)
	w.tick(1 + confirmLag)
	second := receive(w, account.Recv)
	if first.Value.Lamports != second.Value.Lamports || second.Context.Slot <= first.Context.Slot {
		t.Errorf("told slot %d, then slot %d: want the same in a later slot", first.Context.Slot, second.Context.Slot)
	}
}

func TestNotificationsCanBeLostAndConnectionsCut(t *testing.T) {
	w := start(t, chaintest.Config{})
	slots, err := w.socket().SlotSubscribe()
	w.check(err)
	w.subscribed(1)
	_, err = w.Rule(w.ctx(), chaintest.Rule{Action: chaintest.Lose, Method: "ws:slot"})
	w.check(err)
	before, err := w.Stats(w.ctx())
	w.check(err)
	w.tick(2)
	if got := receive(w, slots.Recv); got.Slot != before.Slot+2 {
		t.Errorf("first slot told = %d, want %d, the one after the lost one", got.Slot, before.Slot+2)
	}
	_, err = w.Rule(w.ctx(), chaintest.Rule{Action: chaintest.Close, Method: "ws:slot"})
	w.check(err)
	w.tick(1)
	ctx, cancel := context.WithTimeout(w.ctx(), patience)
	defer cancel()
	if got, err := slots.Recv(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("after the cut: %v, %v, want an error at once", got, err)
	}
	w.subscribed(0)
}
