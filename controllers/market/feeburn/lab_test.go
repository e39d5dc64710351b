// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/buyback"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/swap"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/chaintest"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const (
	finalLag = 4
	sol      = 1_000_000_000
	// What the lab begins with: the treasury's fees and its own share of IO, which no buy-back may touch.
	ownUSDC   = 50_000_000
	ownIO     = 700_000_000
	allTokens = 1_000_000_000_000
	// theFees are what the epoch's claims paid: 10 USDC, worth 20 IO at half a dollar.
	theFees = 10_000_000
	fairIO  = 2_000_000_000
	feedID  = "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d"
)

// theWait is the FeeBurn of USDC on the day that tests begin.
var theWait = types.NamespacedName{Namespace: boursev1.PublicNamespace, Name: "usdc-2027-03-01"}

// lab is the real controller on a fake hub, with a real chain, a real exchange on it, and a fake swap API before that.
type lab struct {
	t        *testing.T
	sim      *chaintest.Sim
	client   *chain.Client
	hub      *fakehub.Hub
	treasury *signer.Keypair
	market   *boursev1.Market
	pool     chain.Address
	spoil    func(answer map[string]any) // what the swap API does to its answer
	status   int                         // what it answers with
}

func wallet(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

func named(name string) chain.Address { return wallet(name).PublicKey() }

func text(address chain.Address) boursev1.SolanaAddress {
	return boursev1.SolanaAddress(address.String())
}

func newLab(t *testing.T) *lab {
	t.Helper()
	process := chaintest.Run(t, chaintest.Config{Manual: true, ConfirmLag: new(0), FinalLag: new(finalLag), Seed: t.Name()})
	l := &lab{
		t: t, sim: process.Sim, client: chain.NewClient(process.RPC, chain.Options{}), treasury: wallet("treasury"),
		spoil: func(map[string]any) {}, status: http.StatusOK,
	}
	elf, err := os.ReadFile("../../../test/swapprogram/swap.so")
	l.must(err)
	l.must(l.sim.AddProgram(t.Context(), named("exchange").String(), elf))
	l.set(named("IO"), chain.TokenProgram, mintData(8))
	l.set(named("USDC"), chain.TokenProgram, mintData(6))
	l.set(l.treasury.PublicKey(), chain.SystemProgram, nil)
	l.setTokens(l.tokens("USDC"), "USDC", l.treasury.PublicKey(), ownUSDC)
	l.setTokens(l.tokens("IO"), "IO", l.treasury.PublicKey(), ownIO)
	pool, bump, err := chain.Derive(named("exchange"), []byte("pool"))
	l.must(err)
	l.pool = pool
	l.setTokens(named("vault of USDC"), "USDC", pool, 0)
	l.setTokens(named("vault of IO"), "IO", pool, allTokens)
	l.exchange(bump, 200, 10_000, 10_000)
	l.setTable(named("table"), chain.SystemProgram, named("vault of USDC"), named("vault of IO"), pool)
	l.market = l.buying(l.api())
	l.hub = fakehub.New(t, []fakehub.Index{{Of: &boursev1.Settlement{}, Name: byEpoch, Values: epochOf}}, l.market,
		l.paid(1, 4_000_000), l.paid(2, 6_000_000))
	l.hub.Step(12*time.Hour + late)
	l.publish(50_000_000, 10_000)
	l.must(l.sim.Tick(t.Context(), finalLag+1))
	return l
}

// buying is the market with a buy-back of IO.
func (l *lab) buying(endpoint string) *boursev1.Market {
	market := builders.Market()
	market.Spec.Treasury = text(l.treasury.PublicKey())
	market.Spec.Tokens[0].Mint, market.Spec.Tokens[1].Mint = text(named("IO")), text(named("USDC"))
	market.Spec.BuyBack = &boursev1.MarketBuyBack{
		Token: "IO", State: boursev1.BuyBackActive, Endpoint: endpoint, Programs: []boursev1.SolanaAddress{text(named("exchange"))},
		Oracle: boursev1.MarketOracle{
			Account: text(named("feed")), FeedID: feedID, ProgramID: text(named("oracle")), MaxAgeSeconds: 60, MaxConfidenceBps: 100,
		},
		MaxSlippageBps: 100, MaxPerEpochUSD: "10000", MinPerEpochUSD: "1",
	}
	return market
}

// paid is a claim that paid fees to the treasury.
func (l *lab) paid(n int, fees int64) *boursev1.Settlement {
	made := settlement(n, "USDC", 0, builders.Start)
	made.Spec.Mint, made.Spec.TreasuryPaid = text(named("USDC")), &fees
	return made
}

// replica is one operator that signs for the treasury.
func (l *lab) replica() *Reconciler {
	return &Reconciler{
		Teller: l.hub.Teller(), Hub: l.hub, Chain: l.client, Treasury: reading{l.treasury}, Now: l.hub.Now,
		Swaps: func(endpoint string) swap.Port { return swap.NewJupiter(swap.Options{Endpoint: endpoint}) },
	}
}

// reading signs only what it can read as a buy-back, as the manager's policy does.
type reading struct{ *signer.Keypair }

func (r reading) Sign(ctx context.Context, message []byte) (chain.Signature, error) {
	if _, err := buyback.ReadMessage(message); err != nil {
		return chain.Signature{}, err
	}
	return r.Keypair.Sign(ctx, message)
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// pass runs one pass of a replica and returns the epoch as the hub has it.
func (l *lab) pass(r *Reconciler) (*boursev1.FeeBurn, reconcile.Result, error) {
	l.t.Helper()
	result, err := r.Reconcile(l.t.Context(), reconcile.Request{NamespacedName: theWait})
	return l.burn(), result, err
}

func (l *lab) burn() *boursev1.FeeBurn {
	l.t.Helper()
	burn := &boursev1.FeeBurn{ObjectMeta: metav1.ObjectMeta{Namespace: theWait.Namespace, Name: theWait.Name}}
	l.hub.Read(burn)
	return burn
}

// begin runs the pass that makes the epoch.
func (l *lab) begin(r *Reconciler) {
	l.t.Helper()
	_, _, err := l.pass(r)
	l.must(err)
}

// finish runs passes, a slot apart, until the epoch has succeeded.
func (l *lab) finish(r *Reconciler) *boursev1.FeeBurn {
	l.t.Helper()
	for range 400 {
		burn, _, err := l.pass(r)
		l.must(err)
		if succeeded(burn) {
			return burn
		}
		l.must(l.sim.Tick(l.t.Context(), 1))
	}
	l.t.Fatalf("the epoch was not bought back: %+v", l.burn().Status)
	return nil
}

// api is a swap API that proposes exactly what is asked at the pool's fair rate, in Jupiter's form.
func (l *lab) api() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.status != http.StatusOK {
			w.WriteHeader(l.status)
			return
		}
		query := r.URL.Query()
		amount, _ := strconv.ParseUint(query.Get("amount"), 10, 64)
		slippage, _ := strconv.ParseUint(query.Get("slippageBps"), 10, 64)
		out := amount * 200
		least := out * (10_000 - slippage) / 10_000
		answer := map[string]any{
			"inputMint": query.Get("inputMint"), "outputMint": query.Get("outputMint"), "swapMode": "ExactIn",
			"inAmount": strconv.FormatUint(amount, 10), "outAmount": strconv.FormatUint(out, 10),
			"otherAmountThreshold": strconv.FormatUint(least, 10), "tipInstruction": nil, "cleanupInstruction": nil,
			"swapInstruction":               l.exchangeCall(query.Get("destinationTokenAccount"), amount, least),
			"addressesByLookupTableAddress": map[string]any{named("table").String(): []string{}},
		}
		l.spoil(answer)
		_ = json.NewEncoder(w).Encode(answer) // a client that hung up is not this test's concern
	}))
	l.t.Cleanup(server.Close)
	return server.URL
}

func metaOf(address string, signs, writable bool) map[string]any {
	return map[string]any{"pubkey": address, "isSigner": signs, "isWritable": writable}
}

func (l *lab) exchangeCall(into string, amount, least uint64) map[string]any {
	data := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, amount), least)
	return map[string]any{
		"programId": named("exchange").String(), "data": base64.StdEncoding.EncodeToString(data),
		"accounts": []any{
			metaOf(l.treasury.PublicKey().String(), true, false), metaOf(l.tokens("USDC").String(), false, true), metaOf(into, false, true),
			metaOf(named("vault of USDC").String(), false, true), metaOf(named("vault of IO").String(), false, true),
			metaOf(l.pool.String(), false, false), metaOf(chain.TokenProgram.String(), false, false),
		},
	}
}

func (l *lab) set(address, owner chain.Address, data []byte) {
	l.t.Helper()
	l.must(l.sim.SetAccount(l.t.Context(), address.String(), &chaintest.Account{Lamports: 10 * sol, Owner: owner.String(), Data: data}))
}

func (l *lab) setTokens(address chain.Address, token string, owner chain.Address, amount uint64) {
	l.t.Helper()
	mint := named(token)
	data := make([]byte, 165)
	copy(data, mint[:])
	copy(data[32:], owner[:])
	binary.LittleEndian.PutUint64(data[64:], amount)
	data[108] = 1
	l.set(address, chain.TokenProgram, data)
}

// exchange writes the pool's state: its rate, and how many basis points it takes and yields of what it should.
func (l *lab) exchange(bump uint8, rate, takes, yields uint32) {
	l.t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, rate)
	for _, number := range []uint32{1, takes, yields} {
		data = binary.LittleEndian.AppendUint32(data, number)
	}
	l.set(l.pool, named("exchange"), append(data, bump, 0, 0, 0))
}

// cheat makes the pool take and yield so many basis points of what it should.
func (l *lab) cheat(takes, yields uint32) {
	l.t.Helper()
	_, bump, err := chain.Derive(named("exchange"), []byte("pool"))
	l.must(err)
	l.exchange(bump, 200, takes, yields)
}

// publish makes the oracle say a price of IO in units of 10^-8 dollars, just now.
func (l *lab) publish(price, confidence uint64) {
	l.t.Helper()
	id, err := hex.DecodeString(feedID)
	l.must(err)
	data := append([]byte{0x22, 0xf1, 0x23, 0x63, 0x9d, 0x7e, 0xf4, 0xcd}, make([]byte, 32)...)
	data = append(append(data, 1), id...)
	data = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(data, price), confidence)
	data = binary.LittleEndian.AppendUint32(data, math.MaxUint32-7) // 10^-8
	data = binary.LittleEndian.AppendUint64(data, uint64(l.hub.Now().Unix()))
	l.set(named("feed"), named("oracle"), append(data, make([]byte, 134-len(data))...))
}

func (l *lab) setTable(address chain.Address, entries ...chain.Address) {
	l.t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, 1)
	data = binary.LittleEndian.AppendUint64(data, math.MaxUint64)
	data = append(data, make([]byte, 44)...)
	for _, entry := range entries {
		data = append(data, entry[:]...)
	}
	l.set(address, chain.LookupProgram, data)
}

func (l *lab) tokens(token string) chain.Address {
	l.t.Helper()
	address, err := chain.TokenAddress(l.treasury.PublicKey(), named(token))
	l.must(err)
	return address
}

func (l *lab) account(address chain.Address) chain.Account {
	l.t.Helper()
	account, err := l.client.Account(l.t.Context(), address, chain.Finalized)
	l.must(err)
	return account
}

func (l *lab) balance(address chain.Address) money.Amount {
	l.t.Helper()
	amount, err := escrow.Balance(l.account(address))
	l.must(err)
	return amount
}

func (l *lab) supply() money.Amount {
	l.t.Helper()
	supply, err := escrow.Supply(l.account(named("IO")))
	l.must(err)
	return supply
}

// checkOnce checks to the base unit that theFees were spent and leastIO burned exactly once, and nothing else moved.
func (l *lab) checkOnce(burn *boursev1.FeeBurn) {
	l.t.Helper()
	const spent, burned = money.Amount(theFees), money.Amount(leastIO)
	back := burn.Status.BuyBack
	if back == nil || back.Spent == nil || back.Burned == nil {
		l.t.Fatalf("no buy-back: %+v", burn.Status)
	}
	for name, got := range map[string]struct{ got, want money.Amount }{
		"reported as spent":    {money.Amount(*back.Spent), spent},
		"reported as burned":   {money.Amount(*back.Burned), burned},
		"treasury's USDC":      {l.balance(l.tokens("USDC")), ownUSDC - spent},
		"treasury's own IO":    {l.balance(l.tokens("IO")), ownIO},
		"supply of IO":         {l.supply(), allTokens - burned},
		"the exchange's USDC":  {l.balance(named("vault of USDC")), spent},
		"IO lost or made":      {allTokens - l.balance(named("vault of IO")) - burned, l.leftover()},
		"transactions of ours": {money.Amount(l.landings()), 1},
	} {
		if got.got != got.want {
			l.t.Errorf("%s: %s, want %s", name, got.got, got.want)
		}
	}
}

func (l *lab) leftover() money.Amount {
	l.t.Helper()
	terms, err := rule{market: l.market, token: &l.market.Spec.Tokens[1]}.terms(l.burn())
	l.must(err)
	at, err := terms.Places()
	l.must(err)
	return l.balance(at.Into)
}

// landings counts the successful transactions that the exchange saw.
func (l *lab) landings() int {
	l.t.Helper()
	infos, err := l.client.Signatures(l.t.Context(), named("vault of IO"), chain.Signature{})
	l.must(err)
	landed := 0
	for _, info := range infos {
		if !info.Failed {
			landed++
		}
	}
	return landed
}

func mintData(decimals uint8) []byte {
	data := make([]byte, 82)
	binary.LittleEndian.PutUint64(data[36:], allTokens)
	data[44], data[45] = decimals, 1
	return data
}

// with returns the answer's swap with something changed.
func with(answer map[string]any, key string, value any) map[string]any {
	call, _ := answer["swapInstruction"].(map[string]any)
	changed := maps.Clone(call)
	changed[key] = value
	return changed
}
