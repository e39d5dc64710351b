// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
)

const apiKey = "canary-4f1a"

func at(n byte) chain.Address { return chain.Address{n, 1, 1, 1} }

// asked is the exchange that tests ask for.
func asked() Request {
	return Request{Taker: at(1), Pay: at(2), Get: at(3), From: at(4), Into: at(5), Amount: 10_000_000, SlippageBps: 50}
}

func call(program chain.Address, data string, accounts ...map[string]any) map[string]any {
	return map[string]any{"programId": program.String(), "data": data, "accounts": accounts}
}

func account(address chain.Address, signer, writable bool) map[string]any {
	return map[string]any{"pubkey": address.String(), "isSigner": signer, "isWritable": writable}
}

// answer is what an honest API answers to asked, as far as it is documented.
func answer() map[string]any {
	return map[string]any{
		"inputMint": at(2).String(), "outputMint": at(3).String(), "inAmount": "10000000", "outAmount": "2000000000",
		"otherAmountThreshold": "1990000000", "swapMode": "ExactIn", "slippageBps": 50, "priceImpactPct": "0.001",
		"routePlan":                 []any{map[string]any{"percent": 100}},
		"computeBudgetInstructions": []any{call(chain.ComputeBudgetProgram, "AwAAAAAAAAAA")},
		"setupInstructions":         []any{call(at(20), "AQ==", account(at(1), true, true))},
		"swapInstruction": call(at(21), "AgM=",
			account(at(1), true, false), account(at(4), false, true), account(at(5), false, true), account(at(30), false, true)),
		"cleanupInstruction": nil, "otherInstructions": []any{}, "tipInstruction": nil,
		"addressesByLookupTableAddress": map[string]any{at(41).String(): []string{at(30).String()}, at(40).String(): []string{}},
		"blockhashWithMetadata":         map[string]any{"lastValidBlockHeight": 5},
	}
}

// honest is answer as it must be read.
func honest() Route {
	return Route{
		Amount: 10_000_000, Expected: 2_000_000_000, Least: 1_990_000_000,
		Instructions: []chain.Instruction{
			{Program: at(20), Data: []byte{1}, Accounts: []chain.Meta{{Address: at(1), Signer: true, Writable: true}}},
			{Program: at(21), Data: []byte{2, 3}, Accounts: []chain.Meta{
				{Address: at(1), Signer: true}, {Address: at(4), Writable: true}, {Address: at(5), Writable: true}, {Address: at(30), Writable: true},
			}},
		},
		Tables: []chain.Address{at(40), at(41)},
	}
}

// api serves the handler as a provider.
func api(t *testing.T, handler http.HandlerFunc) *Jupiter {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return NewJupiter(Options{Endpoint: server.URL + "/swap/v2/build", Key: apiKey, Timeout: time.Second, Transport: server.Client().Transport})
}

func serve(t *testing.T, body any) http.HandlerFunc {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) } // a client that hung up is not this test's concern
}

func TestJupiterAsksForExactlyTheSwap(t *testing.T) {
	var got *http.Request
	honestly := serve(t, answer())
	jupiter := api(t, func(w http.ResponseWriter, request *http.Request) {
		got = request
		honestly(w, request)
	})
	route, err := jupiter.Build(t.Context(), asked())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(honest(), route); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	want := url.Values{
		"inputMint": {at(2).String()}, "outputMint": {at(3).String()}, "amount": {"10000000"}, "slippageBps": {"50"},
		"taker": {at(1).String()}, "destinationTokenAccount": {at(5).String()}, "maxAccounts": {"40"},
	}
	if diff := cmp.Diff(want, got.URL.Query()); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if got.Method != http.MethodGet || got.URL.Path != "/swap/v2/build" || got.Header.Get("x-api-key") != apiKey {
		t.Errorf("asked %s %s with key %q", got.Method, got.URL.Path, got.Header.Get("x-api-key"))
	}
}

func TestJupiterOutages(t *testing.T) {
	honestly := serve(t, answer())
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	cases := map[string]struct {
		handler http.HandlerFunc
		want    Reason
	}{
		"too many requests": {status(429), Unavailable},
		"an outage":         {status(503), Unavailable},
		"no such key":       {status(401), Unauthorized},
		"a key without it":  {status(403), Unauthorized},
		"no route":          {status(400), NoRoute},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				honestly(w, r)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, Unavailable},
		"silence":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Unavailable},
		"a broken answer": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "100") }, Unavailable},
		"an endless answer": {func(w http.ResponseWriter, r *http.Request) {
			honestly(w, r)
			_, _ = w.Write([]byte(strings.Repeat(" ", maxReply)))
		}, Garbage},
		"no JSON":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, Garbage},
		"two answers": {func(w http.ResponseWriter, r *http.Request) { serve(t, answer())(w, r); serve(t, answer())(w, r) }, Garbage},
		"nothing":     {func(http.ResponseWriter, *http.Request) {}, Garbage},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := api(t, tc.handler).Build(t.Context(), asked())
			if !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestJupiterIsDown(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := NewJupiter(Options{Endpoint: server.URL + "/?secret=" + apiKey}).Build(t.Context(), asked())
	if !errors.Is(err, Unavailable) || strings.Contains(err.Error(), apiKey) {
		t.Errorf("err = %v, want %v without the URL", err, Unavailable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewJupiter(Options{}).Build(ctx, asked()); !errors.Is(err, Unavailable) {
		t.Errorf("given up before it began: err = %v, want %v", err, Unavailable)
	}
	if _, err := NewJupiter(Options{Endpoint: "no url"}).Build(t.Context(), asked()); !errors.Is(err, Unavailable) {
		t.Errorf("no URL: err = %v, want %v", err, Unavailable)
	}
}

func TestJupiterRefusesAnotherAnswer(t *testing.T) {
	bad := call(at(21), "AgM=", map[string]any{"pubkey": at(1).String()})
	many := make([]map[string]any, maxPerCall+1)
	for i := range many {
		many[i] = account(at(9), false, false)
	}
	tables := map[string]any{}
	for i := range byte(maxTables + 1) {
		tables[at(i).String()] = nil
	}
	cases := map[string]struct {
		field string
		value any
		want  Reason
	}{
		"for another token to pay":    {"inputMint", at(9).String(), Garbage},
		"for another token to get":    {"outputMint", at(9).String(), Garbage},
		"in another mode":             {"swapMode", "ExactOut", Garbage},
		"without an amount":           {"inAmount", "", Garbage},
		"with a negative amount":      {"outAmount", "-1", Garbage},
		"with a broken amount":        {"otherAmountThreshold", "1.5", Garbage},
		"with an amount as a number":  {"inAmount", 10_000_000, Garbage},
		"with an amount of 20 digits": {"outAmount", "18446744073709551616", Garbage},
		"without a swap":              {"swapInstruction", nil, Garbage},
		"with a tip":                  {"tipInstruction", call(chain.SystemProgram, "AgAAAA=="), Tip},
		"with something beside":       {"otherInstructions", []any{call(at(21), "")}, ForeignProgram},
		"with a program of no key":    {"swapInstruction", map[string]any{"programId": "x", "data": ""}, Garbage},
		"with data of no base64":      {"swapInstruction", call(at(21), "A"), Garbage},
		"with an account of no key":   {"swapInstruction", call(at(21), "", map[string]any{"pubkey": "", "isSigner": true, "isWritable": true}), Garbage},
		"with an account of no right": {"swapInstruction", bad, Garbage},
		"with too many accounts":      {"swapInstruction", call(at(21), "", many...), Garbage},
		"with too much data":          {"swapInstruction", call(at(21), strings.Repeat("AAAA", maxData)), Garbage},
		"with a table of no address":  {"addressesByLookupTableAddress", map[string]any{"x": nil}, Garbage},
		"with too many tables":        {"addressesByLookupTableAddress", tables, Garbage},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			body := answer()
			body[tc.field] = tc.value
			_, err := api(t, serve(t, body)).Build(t.Context(), asked())
			if !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestJupiterNeedsNoTablesAndHasACleanup(t *testing.T) {
	body := answer()
	maps.Copy(body, map[string]any{"addressesByLookupTableAddress": nil, "cleanupInstruction": call(at(22), "")})
	delete(body, "tipInstruction")
	route, err := api(t, serve(t, body)).Build(t.Context(), asked())
	if err != nil {
		t.Fatal(err)
	}
	want := honest()
	want.Tables = nil
	want.Instructions = append(want.Instructions, chain.Instruction{Program: at(22), Data: []byte{}})
	if diff := cmp.Diff(want, route); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
}

func TestJupiterShowsNoKey(t *testing.T) {
	jupiter := NewJupiter(Options{Key: apiKey})
	encoded, err := json.Marshal(map[string]any{"of": jupiter})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v", jupiter), fmt.Sprintf("%+v", *jupiter), fmt.Sprintf("%#v", *jupiter), string(encoded)} {
		if strings.Contains(text, apiKey) {
			t.Errorf("the API key is in %s", text)
		}
	}
}

// No answer makes the reader panic.
func FuzzReadBuild(f *testing.F) {
	text, err := json.Marshal(answer())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		route, err := readBuild(body, asked())
		if err == nil && len(route.Instructions) == 0 {
			t.Errorf("%q is a route without instructions", body)
		}
	})
}
