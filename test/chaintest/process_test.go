// SPDX-License-Identifier: Apache-2.0

package chaintest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/test/chaintest"
)

func TestAChainStartsAnswersAndStops(t *testing.T) {
	chain := chaintest.Run(t, chaintest.Config{Manual: true})
	if err := chain.Tick(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got := slot(t, chain.RPC); got != 3 {
		t.Errorf("slot = %d, want 3", got)
	}
	if err := chain.Stop(); err != nil {
		t.Errorf("first stop: %v", err)
	}
	if err := chain.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestAKilledChainContinuesFromItsFolder(t *testing.T) {
	config := chaintest.Config{Manual: true, Dir: t.TempDir()}
	first := chaintest.Run(t, config)
	if err := first.Tick(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second := chaintest.Run(t, config)
	if got := slot(t, second.RPC); got != 5 {
		t.Errorf("slot after the restart = %d, want 5", got)
	}
}

func TestAWrongConfigurationIsReported(t *testing.T) {
	_, err := chaintest.Start(t.Context(), chaintest.Config{FinalLag: new(1), Progress: t.Output()})
	if err == nil {
		t.Fatal("a final lag below the confirm lag was accepted")
	}
}

func TestListeningReadsTheFirstSuchLine(t *testing.T) {
	cases := map[string]struct {
		output  string
		want    chaintest.URLs
		wantErr bool
	}{
		"alone":             {output: `listening {"rpc":"http://127.0.0.1:1","ws":"ws://127.0.0.1:2"}` + "\n", want: chaintest.URLs{RPC: "http://127.0.0.1:1", WS: "ws://127.0.0.1:2"}},
		"after other lines": {output: "hello\nlistening {\"rpc\":\"r\",\"ws\":\"w\"}\n", want: chaintest.URLs{RPC: "r", WS: "w"}},
		"missing":           {output: "hello\n", wantErr: true},
		"broken":            {output: "listening {\n", wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := chaintest.Listening(strings.NewReader(tc.output))
			if (err != nil) != tc.wantErr {
				t.Fatalf("error = %v, want error %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("URLs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARuleSaysOnlyWhatIsSet(t *testing.T) {
	cases := map[string]struct {
		rule chaintest.Rule
		want string
	}{
		"an action alone": {chaintest.Rule{Action: chaintest.Drop}, `{"action":"drop"}`},
		"with everything": {
			chaintest.Rule{
				Action: chaintest.HTTP, Method: "m", Account: "a", Memo: "x", Times: chaintest.Always, Skip: 2, Slots: 3,
				Wait: time.Second, Status: 503, RetryAfter: 4 * time.Second, Code: -1, Message: "no",
			},
			`{"account":"a","action":"http","code":-1,"memo":"x","message":"no","method":"m","ms":1000,"retryAfter":4,"skip":2,"slots":3,"status":503,"times":-1}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(tc.rule)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("rule (-want +got):\n%s", diff)
			}
		})
	}
}

// slot asks for the newest slot.
func slot(t *testing.T, url string) uint64 {
	t.Helper()
	body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"commitment":"processed"}]}`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read to its end
	var answer struct{ Result uint64 }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Result
}
