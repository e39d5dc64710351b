// SPDX-License-Identifier: Apache-2.0

package chaintest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/signer"
	localchain "github.com/bourse-dev/bourse/test/chaintest"
)

const (
	confirmLag = 2
	finalLag   = 6
	sol        = 1_000_000_000
)

// client is everything that all chains must do alike.
//
//nolint:interfacebloat // the suite covers the whole client; its users declare the parts they need
type client interface {
	GenesisHash(ctx context.Context) (chain.Hash, error)
	Blockhash(ctx context.Context) (chain.Blockhash, error)
	Send(ctx context.Context, raw []byte) error
	Status(ctx context.Context, signature chain.Signature) (chain.Status, error)
	Simulate(ctx context.Context, raw []byte) (chain.Simulation, error)
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

// world is a chain and what a test may do to it.
type world struct {
	client
	t        *testing.T
	fund     func(chain.Address)
	tick     func(int)
	rollback func(int)
	payer    *signer.Keypair
}

func wallet(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

func fakeWorld(t *testing.T) *world {
	t.Helper()
	fake := chaintest.New(confirmLag, finalLag)
	return &world{
		client: fake, t: t, tick: fake.Tick,
		fund:     func(address chain.Address) { fake.Fund(address, sol) },
		rollback: func(depth int) { fake.Rollback(depth, false) },
	}
}

func realWorld(t *testing.T) (w *world, rpc string) {
	t.Helper()
	process := localchain.Run(t, localchain.Config{Manual: true, ConfirmLag: new(confirmLag), FinalLag: new(finalLag), Seed: t.Name()})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	return &world{
		client: chain.NewClient(process.RPC, chain.Options{}), t: t,
		tick: func(blocks int) { check(process.Tick(t.Context(), blocks)) },
		fund: func(address chain.Address) {
			check(process.SetAccount(t.Context(), address.String(), &localchain.Account{Lamports: sol, Owner: chain.SystemProgram.String()}))
		},
		rollback: func(depth int) {
			_, err := process.Rollback(t.Context(), depth, false)
			check(err)
		},
	}, process.RPC
}

// clientWorld is the local chain seen by one endpoint.
func clientWorld(t *testing.T) *world {
	t.Helper()
	w, _ := realWorld(t)
	return w
}

// quorumWorld is the same chain seen by five endpoints, of which one hangs and one is of another network.
func quorumWorld(t *testing.T) *world {
	t.Helper()
	w, rpc := realWorld(t)
	hung := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(hung) })
	foreign := httptest.NewServer(elsewhere(t, rpc))
	t.Cleanup(foreign.Close)
	quorum, err := chain.NewQuorum([]string{hanging.URL, rpc, foreign.URL, rpc, rpc}, 0, chain.Options{})
	w.must(err)
	w.client = quorum
	return w
}

// elsewhere passes everything on to the chain, but says that it is of another network.
func elsewhere(t *testing.T, rpc string) http.Handler {
	t.Helper()
	target, err := url.Parse(rpc)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return // the client left
		}
		if bytes.Contains(body, []byte("getGenesisHash")) {
			_, _ = fmt.Fprintf(writer, `{"jsonrpc":"2.0","id":1,"result":%q}`, chain.Hash{1})
			return
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(writer, request)
	})
}

// transfer signs a payment of lamports under the newest blockhash.
func (w *world) transfer(to chain.Address, lamports uint64) (chain.Signature, []byte, chain.Blockhash) {
	w.t.Helper()
	blockhash, err := w.Blockhash(w.t.Context())
	w.must(err)
	data := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, 2), lamports)
	body, err := chain.CompileMessage(w.payer.PublicKey(), []chain.Instruction{chain.ComputeLimit(10_000), {
		Program:  chain.SystemProgram,
		Accounts: []chain.Meta{{Address: w.payer.PublicKey(), Signer: true, Writable: true}, {Address: to, Writable: true}},
		Data:     data,
	}}, blockhash.Hash)
	w.must(err)
	envelope, err := chain.NewEnvelope(body)
	w.must(err)
	signature, err := w.payer.Sign(w.t.Context(), body)
	w.must(err)
	w.must(envelope.Add(w.payer.PublicKey(), signature))
	raw, err := envelope.Bytes()
	w.must(err)
	return signature, raw, blockhash
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status(signature chain.Signature) chain.Status {
	w.t.Helper()
	status, err := w.Status(w.t.Context(), signature)
	w.must(err)
	return status
}

// finalized is how far the chain is settled for good.
func (w *world) finalized() chain.Height { return w.status(chain.Signature{1}).Finalized }

func (w *world) lamports(level chain.Commitment, address chain.Address) uint64 {
	w.t.Helper()
	accounts, err := w.Accounts(w.t.Context(), level, address)
	w.must(err)
	if accounts[0].Exists != (accounts[0].Lamports > 0) || accounts[0].Address != address {
		w.t.Errorf("account %+v", accounts[0])
	}
	return accounts[0].Lamports
}

// behaviours is the suite: what the money packages rely on.
var behaviours = map[string]func(*world){
	"a transaction becomes final step by step": func(w *world) {
		to := wallet("to").PublicKey()
		signature, raw, _ := w.transfer(to, sol/2)
		if status := w.status(signature); status.Found {
			w.t.Errorf("known before it was sent: %+v", status)
		}
		w.must(w.Send(w.t.Context(), raw))
		var seen []chain.Commitment
		for range finalLag + 2 {
			w.tick(1)
			status := w.status(signature)
			if len(seen) == 0 || seen[len(seen)-1] != status.Commitment {
				seen = append(seen, status.Commitment)
				if got := w.lamports(status.Commitment, to); got != sol/2 {
					w.t.Errorf("at %s there are %d lamports", status.Commitment, got)
				}
			}
			if status.Commitment != chain.Finalized && w.lamports(chain.Finalized, to) != 0 {
				w.t.Error("final before it was")
			}
		}
		if diff := cmp.Diff([]chain.Commitment{chain.Processed, chain.Confirmed, chain.Finalized}, seen); diff != "" {
			w.t.Errorf("steps (-want +got):\n%s", diff)
		}
	},
	"the same bytes land once": func(w *world) {
		to := wallet("to").PublicKey()
		_, raw, _ := w.transfer(to, sol/4)
		for range 3 {
			w.must(w.Send(w.t.Context(), raw))
			w.tick(2)
		}
		if got := w.lamports(chain.Processed, to); got != sol/4 {
			w.t.Errorf("%d lamports arrived", got)
		}
	},
	"bytes sent too late never land": func(w *world) {
		signature, raw, blockhash := w.transfer(wallet("to").PublicKey(), sol/4)
		for range 200 {
			height := w.finalized()
			if height.Block > blockhash.LastValidHeight {
				break
			}
			w.tick(1)
		}
		w.must(w.Send(w.t.Context(), raw))
		w.tick(finalLag + 2)
		height := w.finalized()
		status := w.status(signature)
		if status.Found || status.Finalized != height || status.Slot < height.Slot || status.Oldest > blockhash.Slot || height.Block <= blockhash.LastValidHeight {
			w.t.Errorf("status %+v at %+v for %+v", status, height, blockhash)
		}
	},
	"bytes land up to the last valid height": func(w *world) {
		to := wallet("to").PublicKey()
		_, raw, blockhash := w.transfer(to, sol/4)
		height := w.finalized()
		w.tick(int(blockhash.LastValidHeight-height.Block) - finalLag - 1)
		w.must(w.Send(w.t.Context(), raw))
		w.tick(1)
		if got := w.lamports(chain.Processed, to); got != sol/4 {
			w.t.Errorf("%d lamports arrived", got)
		}
	},
	"a fork takes back what is not final": func(w *world) {
		to := wallet("to").PublicKey()
		signature, raw, _ := w.transfer(to, sol/4)
		w.must(w.Send(w.t.Context(), raw))
		w.tick(confirmLag + 1)
		if status := w.status(signature); status.Commitment != chain.Confirmed {
			w.t.Fatalf("status %+v", status)
		}
		w.rollback(confirmLag + 1)
		if status := w.status(signature); status.Found || w.lamports(chain.Processed, to) != 0 {
			w.t.Errorf("after the fork: %+v", status)
		}
		w.must(w.Send(w.t.Context(), raw))
		w.tick(finalLag + 1)
		if status := w.status(signature); status.Commitment != chain.Finalized || w.lamports(chain.Finalized, to) != sol/4 {
			w.t.Errorf("sent again: %+v", status)
		}
	},
	"a simulation has no effect and says what would happen": func(w *world) {
		to := wallet("to").PublicKey()
		_, raw, _ := w.transfer(to, sol/4)
		simulation, err := w.Simulate(w.t.Context(), raw)
		if err != nil || simulation.Failure != nil || simulation.Units == 0 || w.lamports(chain.Processed, to) != 0 {
			w.t.Errorf("simulation %+v, %v", simulation, err)
		}
		_, raw, _ = w.transfer(to, 2*sol)
		simulation, err = w.Simulate(w.t.Context(), raw)
		if err != nil || !simulation.Failure.IsCustom(1) || simulation.Failure.Instruction != 1 {
			w.t.Errorf("a failing simulation %+v, %v", simulation, err)
		}
	},
	"a transaction that fails costs its fee and says why": func(w *world) {
		signature, raw, _ := w.transfer(wallet("to").PublicKey(), 2*sol)
		w.must(w.Send(w.t.Context(), raw))
		w.tick(finalLag + 1)
		status := w.status(signature)
		if !status.Found || !status.Failure.IsCustom(1) || w.lamports(chain.Finalized, w.payer.PublicKey()) != sol-5_000 {
			w.t.Errorf("status %+v", status)
		}
		transaction, err := w.Transaction(w.t.Context(), signature)
		if err != nil || !transaction.Failure.IsCustom(1) {
			w.t.Errorf("transaction %+v, %v", transaction, err)
		}
	},
	"history is final, newest first, and ends before until": func(w *world) {
		to := wallet("to").PublicKey()
		sent := make([]chain.Signature, 0, 3)
		for i := range uint64(3) {
			signature, raw, _ := w.transfer(to, sol/10+i)
			w.must(w.Send(w.t.Context(), raw))
			w.tick(1)
			sent = append(sent, signature)
		}
		before, err := w.Signatures(w.t.Context(), to, chain.Signature{})
		if err != nil || len(before) != 0 {
			w.t.Errorf("before anything is final: %+v, %v", before, err)
		}
		if _, err := w.Transaction(w.t.Context(), sent[0]); !errors.Is(err, chain.ErrUnknown) {
			w.t.Errorf("a transaction that is not final: %v", err)
		}
		w.tick(finalLag)
		infos, err := w.Signatures(w.t.Context(), to, sent[0])
		w.must(err)
		if len(infos) != 2 || infos[0].Signature != sent[2] || infos[1].Signature != sent[1] || infos[0].Time.IsZero() || infos[0].Failed {
			w.t.Fatalf("history: %+v", infos)
		}
		transaction, err := w.Transaction(w.t.Context(), sent[1])
		w.must(err)
		if transaction.Slot != infos[1].Slot || len(transaction.Calls) != 2 || transaction.Calls[1].Program != chain.SystemProgram ||
			transaction.Calls[1].Accounts[1] != to || transaction.Calls[1].Depth != 1 || transaction.Signers[0] != w.payer.PublicKey() {
			w.t.Errorf("transaction: %+v", transaction)
		}
	},
	"what is nowhere does not exist": func(w *world) {
		accounts, err := w.Accounts(w.t.Context(), chain.Finalized, wallet("nobody").PublicKey(), w.payer.PublicKey())
		w.must(err)
		if accounts[0].Exists || !accounts[1].Exists || accounts[0].Slot != accounts[1].Slot || accounts[0].Slot == 0 {
			w.t.Errorf("accounts: %+v", accounts)
		}
	},
	"bytes that are not a signed transaction are refused": func(w *world) {
		_, raw, _ := w.transfer(wallet("to").PublicKey(), 1)
		raw[3]++
		if err := w.Send(w.t.Context(), raw[:40]); chain.ClassOf(err) != chain.Stop {
			w.t.Errorf("bytes cut short: %v (%s)", err, chain.ClassOf(err))
		}
	},
}

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *world{"fake": fakeWorld, "local chain": clientWorld, "quorum": quorumWorld} {
		t.Run(name, func(t *testing.T) {
			for behaviour, check := range behaviours {
				t.Run(behaviour, func(t *testing.T) {
					w := open(t)
					w.payer = wallet("payer")
					w.fund(w.payer.PublicKey())
					w.tick(finalLag + 2)
					first, err := w.GenesisHash(t.Context())
					w.must(err)
					if first.IsZero() {
						t.Error("the network has no name")
					}
					check(w)
				})
			}
		})
	}
}
