// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// secretPath stands for the API key that providers put into their URLs.
const secretPath = "/secret-api-key"

// node serves one answer to every call: the given status and body, "ID" replaced by the request's id.
func node(t *testing.T, status int, body string) *Client {
	t.Helper()
	return nodeFunc(t, func(writer http.ResponseWriter, _ string) {
		writer.WriteHeader(status)
		_, _ = writer.Write([]byte(body)) // a client that hung up is not this test's concern
	}, Options{})
}

func nodeFunc(t *testing.T, serve func(writer http.ResponseWriter, method string), options Options) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		var call struct {
			Method string `json:"method"`
		}
		if err := json.NewDecoder(request.Body).Decode(&call); err != nil {
			t.Errorf("read call: %v", err)
		}
		serve(writer, call.Method)
	}))
	t.Cleanup(server.Close)
	return NewClient(server.URL+secretPath, options)
}

func result(value string) string { return `{"jsonrpc":"2.0","id":1,"result":` + value + `}` }

func refusal(code int, data string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no","data":%s}}`, code, data)
}

// calls are all methods that a broken node can break.
func calls(client *Client) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"GenesisHash":     func(ctx context.Context) error { _, err := client.GenesisHash(ctx); return err },
		"Blockhash":       func(ctx context.Context) error { _, err := client.Blockhash(ctx); return err },
		"FinalizedHeight": func(ctx context.Context) error { _, err := client.finalizedHeight(ctx); return err },
		"Send":            func(ctx context.Context) error { return client.Send(ctx, []byte{1}) },
		"Status":          func(ctx context.Context) error { _, err := client.Status(ctx, Signature{1}); return err },
		"Simulate":        func(ctx context.Context) error { _, err := client.Simulate(ctx, []byte{1}); return err },
		"Account":         func(ctx context.Context) error { _, err := client.Account(ctx, Address{1}, Finalized); return err },
		"Signatures":      func(ctx context.Context) error { _, err := client.Signatures(ctx, Address{1}, Signature{}); return err },
		"Transaction":     func(ctx context.Context) error { _, err := client.Transaction(ctx, Signature{1}); return err },
	}
}

func TestBrokenNodesAreErrorsOfTheirClass(t *testing.T) {
	cases := map[string]struct {
		status int
		body   string
		want   Class
	}{
		"too many requests":         {429, "slow down", Retry},
		"unavailable":               {503, "", Retry},
		"a node that is behind":     {200, refusal(-32005, `{"numSlotsBehind":42}`), Retry},
		"an internal error":         {200, refusal(-32603, "null"), Retry},
		"a false signature":         {200, refusal(-32003, "null"), Stop},
		"parameters refused":        {200, refusal(-32602, "null"), Stop},
		"a blockhash too old":       {200, refusal(-32002, `{"err":"BlockhashNotFound"}`), Expired},
		"a transaction known":       {200, refusal(-32002, `{"err":"AlreadyProcessed"}`), Already},
		"a program that refuses":    {200, refusal(-32002, `{"err":{"InstructionError":[1,{"Custom":105}]}}`), Failed},
		"a payer without funds":     {200, refusal(-32002, `{"err":"AccountNotFound"}`), Stop},
		"a frozen token account":    {200, refusal(-32002, `{"err":{"InstructionError":[1,{"Custom":17}]}}`), Stop},
		"too few tokens":            {200, refusal(-32002, `{"err":{"InstructionError":[1,{"Custom":1}]}}`), Stop},
		"too little for the rent":   {200, refusal(-32002, `{"err":{"InsufficientFundsForRent":{"account_index":0}}}`), Stop},
		"a block that is full":      {200, refusal(-32002, `{"err":"WouldExceedMaxBlockCostLimit"}`), Retry},
		"a slot not reached":        {200, refusal(-32016, `{"contextSlot":1}`), Retry},
		"history that is gone":      {200, refusal(-32019, "null"), Retry},
		"a key that is not allowed": {403, "", Retry},
		"a preflight without cause": {200, refusal(-32002, `7`), Retry},
		"a redirect":                {302, "", Retry},
		"nothing":                   {200, "", Retry},
		"text":                      {200, "<html>", Retry},
		"another type":              {200, result(`["x"]`), Retry},
		"an unknown envelope":       {200, `{"jsonrpc":"2.0","id":1,"surprise":1}`, Retry},
	}
	for name, tc := range cases {
		client := node(t, tc.status, tc.body)
		for method, call := range calls(client) {
			if method == "Send" && strings.Contains(tc.body, `"result"`) {
				continue // a send may answer anything
			}
			t.Run(name+" to "+method, func(t *testing.T) {
				err := call(t.Context())
				failed, ok := errors.AsType[*Error](err)
				if !ok || failed.Class != tc.want || ClassOf(fmt.Errorf("wrapped: %w", err)) != tc.want {
					t.Fatalf("got %v (%s), want class %s", err, ClassOf(err), tc.want)
				}
				if strings.Contains(err.Error(), secretPath) {
					t.Errorf("the error names the endpoint: %v", err)
				}
			})
		}
	}
}

func TestNullIsNoFact(t *testing.T) {
	client := node(t, 200, result("null"))
	for method, call := range calls(client) {
		if method == "Signatures" || method == "Send" || method == "GenesisHash" {
			continue
		}
		t.Run(method, func(t *testing.T) {
			if err := call(t.Context()); err == nil {
				t.Error("took null for an answer")
			}
		})
	}
	if _, err := client.Transaction(t.Context(), Signature{1}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown transaction: got %v, want %v", err, ErrUnknown)
	}
}

func TestCallsEnd(t *testing.T) {
	release := make(chan struct{})
	client := nodeFunc(t, func(http.ResponseWriter, string) { <-release }, Options{Timeout: 20 * time.Millisecond})
	defer close(release)
	for method, call := range calls(client) {
		t.Run(method, func(t *testing.T) {
			err := call(t.Context())
			if !errors.Is(err, context.DeadlineExceeded) || ClassOf(err) != Retry || strings.Contains(err.Error(), secretPath) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	client := NewClient(server.URL+secretPath, Options{})
	_, err := client.GenesisHash(t.Context())
	if ClassOf(err) != Retry || err == nil || strings.Contains(err.Error(), secretPath) {
		t.Errorf("got %v", err)
	}
}

func TestRepliesAreBounded(t *testing.T) {
	text := result(`"` + strings.Repeat("1", 32) + `"`)
	serve := func(writer http.ResponseWriter, _ string) { _, _ = writer.Write([]byte(text)) }
	if _, err := nodeFunc(t, serve, Options{MaxReply: int64(len(text)) + 1}).GenesisHash(t.Context()); err != nil {
		t.Fatalf("a reply that is just small enough: %v", err)
	}
	client := nodeFunc(t, serve, Options{MaxReply: int64(len(text)) - 1})
	_, err := client.GenesisHash(t.Context())
	if !errors.Is(err, errUnreadable) || ClassOf(err) != Retry {
		t.Errorf("got %v, want %v", err, errUnreadable)
	}
}

func TestFailureIsRead(t *testing.T) {
	cases := map[string]struct {
		raw  string
		want *Failure
	}{
		"success":                    {`null`, nil},
		"a program's code":           {`{"InstructionError":[2,{"Custom":105}]}`, &Failure{Kind: "InstructionError", Instruction: 2, Detail: "Custom", Code: 105}},
		"an instruction's error":     {`{"InstructionError":[0,"InvalidAccountData"]}`, &Failure{Kind: "InstructionError", Detail: "InvalidAccountData"}},
		"an error with text":         {`{"InstructionError":[0,{"BorshIoError":"x"}]}`, &Failure{Kind: "InstructionError", Detail: "BorshIoError"}},
		"the transaction's error":    {`"AlreadyProcessed"`, &Failure{Kind: "AlreadyProcessed", Instruction: NoInstruction}},
		"an error with a place":      {`{"InsufficientFundsForRent":{"account_index":0}}`, &Failure{Kind: "InsufficientFundsForRent", Instruction: NoInstruction}},
		"a form that is new":         {`[1]`, &Failure{Kind: unreadable, Instruction: NoInstruction}},
		"a code that is no number":   {`{"InstructionError":[0,{"Custom":"x"}]}`, &Failure{Kind: "InstructionError", Detail: unreadable}},
		"an index that is too great": {`{"InstructionError":[256,"x"]}`, &Failure{Kind: unreadable, Instruction: NoInstruction}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var decoded any
			if err := json.Unmarshal([]byte(tc.raw), &decoded); err != nil {
				t.Fatal(err)
			}
			for _, form := range []any{decoded, json.RawMessage(tc.raw)} {
				if diff := cmp.Diff(tc.want, readFailure(form)); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// What strangers put into transactions must never be taken for something it is not, nor crash the reader.
func TestForeignTransactionsAreChecked(t *testing.T) {
	raw := signed(t)
	signature := Signature(raw[1:])
	reply := func(raw []byte, meta string) string {
		return result(fmt.Sprintf(`{"slot":9,"blockTime":1800000000,"transaction":[%q,"base64"],"meta":%s}`, base64.StdEncoding.EncodeToString(raw), meta))
	}
	call := func(program, account, height int) string {
		return fmt.Sprintf(`{"err":null,"innerInstructions":[{"index":0,"instructions":[{"programIdIndex":%d,"accounts":[%d],"data":"3","stackHeight":%d}]}]}`, program, account, height)
	}
	cases := map[string]struct {
		body    string
		wantErr bool
	}{
		"a good one":                          {reply(raw, call(2, 1, 2)), false},
		"without its effects":                 {reply(raw, "null"), true},
		"another transaction":                 {reply(append([]byte{1, 9}, raw[2:]...), call(2, 1, 2)), true},
		"bytes left over":                     {reply(append(slices.Clip(raw), 0), call(2, 1, 2)), true},
		"a call by a program out of range":    {reply(raw, call(3, 1, 2)), true},
		"a call with an account out of range": {reply(raw, call(2, 3, 2)), true},
		"a call at the top's depth":           {reply(raw, call(2, 1, 1)), true},
		"a call at no depth":                  {reply(raw, call(2, 1, 0)), true},
		"a call that skips a depth":           {reply(raw, call(2, 1, 3)), true},
		"calls of an unknown instruction":     {reply(raw, `{"err":null,"innerInstructions":[{"index":1,"instructions":[]}]}`), true},
		"calls of an instruction twice":       {reply(raw, `{"err":null,"innerInstructions":[{"index":0,"instructions":[]},{"index":0,"instructions":[]}]}`), true},
		"loaded keys that nobody asked for":   {reply(raw, `{"err":null,"loadedAddresses":{"writable":["11111111111111111111111111111111"],"readonly":[]}}`), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := node(t, 200, tc.body).Transaction(t.Context(), signature)
			if (err != nil) != tc.wantErr {
				t.Fatalf("got %+v, %v; want error %t", got, err, tc.wantErr)
			}
			if err == nil && (len(got.Calls) != 2 || got.Calls[1].Depth != 2 || got.Calls[1].Accounts[0] != address(2) || got.Slot != 9 || got.Time.IsZero()) {
				t.Errorf("read %+v", got)
			}
		})
	}
}

func TestStatusOfAnUnknownSignatureSaysHowFarTheNodeRemembers(t *testing.T) {
	client := nodeFunc(t, func(writer http.ResponseWriter, method string) {
		body := result("33")
		switch method {
		case "getEpochInfo":
			body = result(`{"absoluteSlot":70,"blockHeight":60,"epoch":0,"slotIndex":0,"slotsInEpoch":1,"transactionCount":1}`)
		case "getSignatureStatuses":
			body = result(`{"context":{"slot":77},"value":[null]}`)
		}
		_, _ = writer.Write([]byte(body))
	}, Options{})
	got, err := client.Status(t.Context(), Signature{1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Status{Slot: 77, Oldest: 33, Finalized: Height{Block: 60, Slot: 70}}, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestSignaturesArePaged(t *testing.T) {
	pages := 0
	client := nodeFunc(t, func(writer http.ResponseWriter, _ string) {
		count := signaturesOnPage
		if pages++; pages == 3 {
			count = 7
		}
		entries := make([]string, count)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"signature":%q,"slot":%d,"err":null}`, Signature{byte(pages), byte(i), byte(i >> 8)}, i)
		}
		_, _ = writer.Write([]byte(result("[" + strings.Join(entries, ",") + "]")))
	}, Options{})
	all, err := client.Signatures(t.Context(), Address{1}, Signature{})
	if err != nil || len(all) != 2*signaturesOnPage+7 {
		t.Errorf("got %d signatures, %v", len(all), err)
	}
}

func TestSimulateSaysWhatAccountsWouldHold(t *testing.T) {
	const simulated = `{"context":{"slot":9},"value":{"err":null,"logs":[],"unitsConsumed":7,"accounts":[null,` +
		`{"lamports":5,"owner":"11111111111111111111111111111111","data":["AQI=","base64"],"executable":false,"rentEpoch":0}]}}`
	_, got, err := node(t, 200, result(simulated)).SimulateAccounts(t.Context(), []byte{1}, Address{1}, Address{2})
	if err != nil {
		t.Fatal(err)
	}
	want := []Account{{Address: Address{1}, Slot: 9}, {Address: Address{2}, Exists: true, Lamports: 5, Data: []byte{1, 2}, Slot: 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	_, _, err = node(t, 200, result(simulated)).SimulateAccounts(t.Context(), []byte{1}, Address{1})
	if !errors.Is(err, errUnordered) {
		t.Errorf("a reply of more accounts than were asked for: err = %v, want %v", err, errUnordered)
	}
	failing := `{"context":{"slot":9},"value":{"err":"AccountNotFound","logs":[],"accounts":null}}`
	simulation, accounts, err := node(t, 200, result(failing)).SimulateAccounts(t.Context(), []byte{1}, Address{1})
	if err != nil || simulation.Failure == nil || accounts != nil {
		t.Errorf("a failing simulation: %+v, %v, %v", simulation, accounts, err)
	}
}
