// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/memo"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/jsonrpc"

	"github.com/bourse-dev/bourse/test/chaintest"
)

func TestFaultsOfSending(t *testing.T) {
	const sends = "sendTransaction"
	cases := map[string]struct {
		rule    chaintest.Rule
		wantErr func(error) bool
		lands   int // blocks until it is there; -1 for never
	}{
		"a dropped transaction is accepted and never lands": {
			chaintest.Rule{Action: chaintest.Drop, Method: sends}, isNil, -1,
		},
		"a delayed transaction lands later": {
			chaintest.Rule{Action: chaintest.Delay, Method: sends, Slots: 5}, isNil, 6,
		},
		"a lost response hides a success": {
			chaintest.Rule{Action: chaintest.LoseResponse, Method: sends}, isCut, 1,
		},
		"an error after the effect hides a success": {
			chaintest.Rule{Action: chaintest.ErrorAfter, Method: sends, Code: -32603}, hasCode(-32603), 1,
		},
		"too many requests": {
			chaintest.Rule{Action: chaintest.HTTP, Method: sends}, hasStatus(http.StatusTooManyRequests), -1,
		},
		"service unavailable": {
			chaintest.Rule{Action: chaintest.HTTP, Method: sends, Status: 503}, hasStatus(http.StatusServiceUnavailable), -1,
		},
		"an unhealthy node": {
			chaintest.Rule{Action: chaintest.Error, Method: sends}, hasCode(codeUnhealthy), -1,
		},
		"a reset connection": {
			chaintest.Rule{Action: chaintest.Reset, Method: sends}, isCut, -1,
		},
	}
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tx := w.transfer(payer, newKey(t).PublicKey(), 1_000_000)
			_, err := w.Rule(t.Context(), tc.rule)
			w.check(err)
			if err := w.send(tx); !tc.wantErr(err) {
				t.Errorf("send: %v (%T)", err, err)
			}
			blocks := tc.lands
			if blocks < 0 {
				blocks = 20
			}
			for range blocks {
				if got := w.level(tx); got != "" {
					t.Fatalf("the transaction is %s too early", got)
				}
				w.tick(1)
			}
			if landed := w.level(tx) != ""; landed != (tc.lands >= 0) {
				t.Errorf("landed = %v", landed)
			}
		})
	}
}

func TestAHangingNodeIsLeftByItsClient(t *testing.T) {
	w := start(t, chaintest.Config{})
	_, err := w.Rule(w.ctx(), chaintest.Rule{Action: chaintest.Hang, Method: "getSlot"})
	w.check(err)
	ctx, cancel := context.WithTimeout(w.ctx(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.rpc.GetSlot(ctx, rpc.CommitmentProcessed); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the deadline", err)
	}
	_, err = w.rpc.GetSlot(w.ctx(), rpc.CommitmentProcessed)
	w.check(err)
}

func TestALaggingNodeKnowsNoStatus(t *testing.T) {
	w := start(t, chaintest.Config{})
	tx := w.transfer(w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey(), 1_000_000)
	w.check(w.send(tx))
	w.tick(1)
	_, err := w.Rule(w.ctx(), chaintest.Rule{Action: chaintest.Null, Method: "getSignatureStatuses"})
	w.check(err)
	if got := w.level(tx); got != "" {
		t.Errorf("first answer: %q, want nothing", got)
	}
	if got := w.level(tx); got != rpc.ConfirmationStatusProcessed {
		t.Errorf("second answer: %q, want processed", got)
	}
}

func TestARuleChoosesItsRequestsAndWearsOut(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	marked := func(text string) *solana.Transaction {
		return w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{payer},
			memo.NewMemoInstruction([]byte(text), payer.PublicKey()).Build())
	}
	_, err := w.Rule(w.ctx(), chaintest.Rule{Action: chaintest.Error, Memo: "unlucky", Skip: 1, Times: 2})
	w.check(err)
	for i, want := range []int{0, codeUnhealthy, codeUnhealthy, 0} {
		w.check(w.send(marked("lucky")))
		if got := code(w.send(marked("unlucky"))); got != want {
			t.Errorf("send %d: code %d, want %d", i, got, want)
		}
		w.tick(1)
	}
	rules, err := w.Rules(w.ctx())
	w.check(err)
	if len(rules) != 1 || rules[0].Hits != 2 {
		t.Errorf("rules = %+v, want one with 2 hits", rules)
	}
	w.check(w.Clear(w.ctx()))
	if rules, err := w.Rules(w.ctx()); err != nil || len(rules) != 0 {
		t.Errorf("rules after clear = %+v, %v", rules, err)
	}
}

func TestAWrongRuleIsRefused(t *testing.T) {
	w := start(t, chaintest.Config{})
	if _, err := w.Rule(w.ctx(), chaintest.Rule{Action: "explode"}); err == nil {
		t.Error("an unknown action was accepted")
	}
}

func isNil(err error) bool { return err == nil }

// isCut says whether a connection ended without an answer.
func isCut(err error) bool {
	status := (*jsonrpc.HTTPError)(nil)
	return err != nil && code(err) == 0 && !errors.As(err, &status)
}

func hasCode(want int) func(error) bool {
	return func(err error) bool { return code(err) == want }
}

func hasStatus(want int) func(error) bool {
	return func(err error) bool {
		status := (*jsonrpc.HTTPError)(nil)
		return errors.As(err, &status) && status.Code == want
	}
}
