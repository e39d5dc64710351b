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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// peer is what one endpoint of a test says: the truth, or not.
type peer struct {
	mu       sync.Mutex
	genesis  byte
	slot     uint64 // of what is finalized; the blocks are 10 fewer, and the tip is 32 slots ahead
	oldest   uint64
	account  string // the data of every account
	moving   uint64 // slots that pass with every reading
	status   string // the JSON of every signature's status
	history  []int  // the transactions of every address, newest first
	sendCode int    // refuses to send
	simulate string // the error of every simulation
	broken   int    // the HTTP status of every answer
	hang     chan struct{}
	calls    map[string]int
}

func honest() *peer {
	return &peer{genesis: 1, slot: 1_000, account: "truth", status: "null", history: []int{3, 2, 1}, simulate: "null", calls: map[string]int{}}
}

func (p *peer) with(edit func(*peer)) *peer {
	edit(p)
	return p
}

func (p *peer) count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[method]
}

// ServeHTTP answers as a node does.
func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[call.Method]++
	if p.hang != nil {
		p.mu.Unlock()
		<-p.hang
		p.mu.Lock()
	}
	if p.broken != 0 {
		w.WriteHeader(p.broken)
		return
	}
	var options struct {
		MinContextSlot uint64
		Accounts       any
	}
	if len(call.Params) > 1 {
		_ = json.Unmarshal(call.Params[1], &options) // other methods have other parameters
	}
	if options.MinContextSlot > p.slot {
		_, _ = fmt.Fprint(w, refusal(-32016, `{"contextSlot":1}`))
		return
	}
	_, _ = fmt.Fprint(w, p.answer(call.Method, options.Accounts != nil))
}

// holding is every account.
func (p *peer) holding() string {
	data := base64.StdEncoding.EncodeToString([]byte(p.account))
	return fmt.Sprintf(`{"lamports":1,"owner":%q,"data":[%q,"base64"],"executable":false,"rentEpoch":0}`, SystemProgram, data)
}

func (p *peer) answer(method string, watched bool) string {
	switch method {
	case "getGenesisHash":
		return result(fmt.Sprintf("%q", Hash{p.genesis}.String()))
	case "getEpochInfo":
		return result(fmt.Sprintf(`{"absoluteSlot":%d,"blockHeight":%d,"epoch":0,"slotIndex":0,"slotsInEpoch":1,"transactionCount":1}`, p.slot, p.slot-10))
	case "getSignatureStatuses":
		return result(fmt.Sprintf(`{"context":{"slot":%d},"value":[%s]}`, p.slot+32, p.status))
	case "getFirstAvailableBlock":
		return result(strconv.FormatUint(p.oldest, 10))
	case "getMultipleAccounts":
		p.slot += p.moving
		return result(fmt.Sprintf(`{"context":{"slot":%d},"value":[%s]}`, p.slot, p.holding()))
	case "getSignaturesForAddress":
		entries := make([]string, len(p.history))
		for i, n := range p.history {
			entries[i] = fmt.Sprintf(`{"signature":%q,"slot":%d,"err":null}`, Signature{byte(n)}, n)
		}
		return result("[" + strings.Join(entries, ",") + "]")
	case "getLatestBlockhash":
		return result(fmt.Sprintf(`{"context":{"slot":%d},"value":{"blockhash":%q,"lastValidBlockHeight":%d}}`, p.slot+30, Hash{byte(p.slot)}, p.slot+20+150))
	case "simulateTransaction":
		accounts := "null"
		if watched && p.simulate == "null" {
			accounts = "[" + p.holding() + "]"
		}
		return result(fmt.Sprintf(`{"context":{"slot":1},"value":{"err":%s,"logs":[],"unitsConsumed":7,"accounts":%s}}`, p.simulate, accounts))
	case "sendTransaction":
		if p.sendCode != 0 {
			return refusal(p.sendCode, "null")
		}
		return result(fmt.Sprintf("%q", Signature{1}))
	}
	return refusal(-32601, "null")
}

// quorumOf serves the peers over HTTP. Of two and more, more than half must agree.
func quorumOf(t *testing.T, need int, peers ...*peer) *Quorum {
	t.Helper()
	urls := make([]string, 0, len(peers))
	for _, p := range peers {
		server := httptest.NewServer(p)
		t.Cleanup(server.Close)
		if p.hang != nil {
			t.Cleanup(func() { close(p.hang) }) // before the server waits for it
		}
		urls = append(urls, server.URL+secretPath)
	}
	q, err := NewQuorum(urls, need, Options{Timeout: 2 * time.Second, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func stale(p *peer)   { p.slot, p.account = 500, "old" }
func forked(p *peer)  { p.account = "another truth" }
func foreign(p *peer) { p.genesis, p.account = 2, "another network" }
func down(p *peer)    { p.broken = http.StatusServiceUnavailable }
func limited(p *peer) { p.broken = http.StatusTooManyRequests }
func hanging(p *peer) { p.hang = make(chan struct{}) }

func TestAccountsAreWhatEnoughEndpointsSay(t *testing.T) {
	cases := map[string]struct {
		lies    []func(*peer) // of the endpoints that are not honest, the first ones
		honest  int
		want    string
		wantErr []string
	}{
		"all are honest":                              {nil, 3, "truth", nil},
		"one is stale":                                {[]func(*peer){stale}, 2, "truth", nil},
		"one is on another fork":                      {[]func(*peer){forked}, 2, "truth", nil},
		"one is of another network":                   {[]func(*peer){foreign}, 2, "truth", nil},
		"one is down":                                 {[]func(*peer){down}, 2, "truth", nil},
		"one is overloaded":                           {[]func(*peer){limited}, 2, "truth", nil},
		"one hangs":                                   {[]func(*peer){hanging}, 2, "truth", nil},
		"two of five lie alike":                       {[]func(*peer){forked, forked}, 3, "truth", nil},
		"one of two is on another fork":               {[]func(*peer){forked}, 1, "", []string{"endpoints disagree", "endpoint 1", "against", "endpoint 2"}},
		"one of two is stale":                         {[]func(*peer){stale}, 1, "", []string{"endpoints disagree", "endpoint 1 in slot 500", "endpoint 2 in slot 1000"}},
		"one of two is of another network":            {[]func(*peer){foreign}, 1, "", []string{"endpoints disagree", "endpoint 1", "endpoint 2"}},
		"one of two is down":                          {[]func(*peer){down}, 1, "", []string{"endpoint 1: ", "http status 503"}},
		"one of three is down and one on a fork":      {[]func(*peer){down, forked}, 1, "", []string{"endpoints disagree", "endpoint 1: ", "503"}},
		"one of three is of another network, one off": {[]func(*peer){foreign, down}, 1, "", []string{"endpoint 2: ", "503"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			peers := make([]*peer, 0, len(tc.lies)+tc.honest)
			for _, lie := range tc.lies {
				peers = append(peers, honest().with(lie))
			}
			for range tc.honest {
				peers = append(peers, honest())
			}
			q := quorumOf(t, 0, peers...)
			got, err := q.Account(t.Context(), Address{1}, Finalized)
			if len(tc.wantErr) == 0 && (err != nil || string(got.Data) != tc.want) {
				t.Fatalf("got %q, %v; want %q", got.Data, err, tc.want)
			}
			if len(tc.wantErr) > 0 && (err == nil || ClassOf(err) != Retry) {
				t.Fatalf("got %q, %v; want an error to retry", got.Data, err)
			}
			for _, part := range tc.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("err = %v; want it to say %q", err, part)
				}
			}
			if err != nil && (strings.Contains(err.Error(), secretPath) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error shows an endpoint's URL, or takes several lines: %v", err)
			}
		})
	}
}

// While the chain moves, endpoints are of different slots, and an account may change between them.
func TestEndpointsOfDifferentSlotsAreGivenTime(t *testing.T) {
	behind := honest().with(func(p *peer) { p.slot, p.moving, p.account = 990, 6, "truth" })
	ahead := honest().with(func(p *peer) { p.moving = 1 })
	got, err := quorumOf(t, 2, behind, ahead).Account(t.Context(), Address{1}, Finalized)
	if err != nil || got.Slot != 996 {
		t.Fatalf("the same of different slots: got slot %d, %v; want the lower slot", got.Slot, err)
	}
	late := honest().with(func(p *peer) { p.slot, p.moving, p.account = 999, 1, "old" })
	catching := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		late.ServeHTTP(w, r)
		if late.count("getMultipleAccounts") > 0 {
			late.mu.Lock()
			late.account = "truth" // from its next answer on
			late.mu.Unlock()
		}
	}))
	defer catching.Close()
	fresh := httptest.NewServer(honest().with(func(p *peer) { p.slot = 1_001 }))
	defer fresh.Close()
	q, err := NewQuorum([]string{catching.URL, fresh.URL}, 2, Options{Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = q.Account(t.Context(), Address{1}, Finalized); err != nil || string(got.Data) != "truth" {
		t.Errorf("after the late one has caught up: got %q, %v", got.Data, err)
	}
}

func TestNoReadingGoesBack(t *testing.T) {
	p := honest()
	q := quorumOf(t, 1, p)
	if _, err := q.Account(t.Context(), Address{1}, Finalized); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.slot, p.account = 900, "old"
	p.mu.Unlock()
	if got, err := q.Account(t.Context(), Address{1}, Finalized); !errors.Is(err, errBehind) {
		t.Errorf("got %q, %v; want %v", got.Data, err, errBehind)
	}
	if _, err := q.Signatures(t.Context(), Address{1}, Signature{}); !errors.Is(err, errBehind) {
		t.Errorf("signatures: %v, want %v", err, errBehind)
	}
}

// One endpoint cannot make the others wait for a slot that never comes.
func TestASlotFromTheFutureIsIgnored(t *testing.T) {
	future := honest().with(func(p *peer) { p.slot, p.account = 1<<60, "false" })
	q := quorumOf(t, 2, future, honest(), honest())
	for range 5 {
		got, err := q.Account(t.Context(), Address{1}, Finalized)
		if err != nil || string(got.Data) != "truth" || got.Slot != 1_000 {
			t.Fatalf("got %q of slot %d, %v", got.Data, got.Slot, err)
		}
	}
}

func TestStatusIsWhatEnoughEndpointsSay(t *testing.T) {
	landed := func(level, failure string) func(*peer) {
		return func(p *peer) { p.status = fmt.Sprintf(`{"slot":950,"err":%s,"confirmationStatus":%q}`, failure, level) }
	}
	elsewhere := func(p *peer) { p.status = `{"slot":951,"err":null,"confirmationStatus":"finalized"}` }
	behind := func(p *peer) { p.slot = 900 }
	truth := func(*peer) {}
	final := Status{Found: true, Commitment: Finalized, Landed: 950, Slot: 1_032, Finalized: Height{990, 1_000}}
	pending := func(level Commitment) Status {
		return Status{Found: true, Commitment: level, Landed: 950, Slot: 1_032, Finalized: Height{990, 1_000}}
	}
	unknown := Status{Slot: 1_032, Finalized: Height{990, 1_000}}
	cases := map[string]struct {
		need  int
		peers []func(*peer)
		want  Status
		clash bool
	}{
		"final to all":                          {0, []func(*peer){landed("finalized", "null"), landed("finalized", "null"), landed("finalized", "null")}, final, false},
		"final to two of three":                 {0, []func(*peer){down, landed("finalized", "null"), landed("finalized", "null")}, final, false},
		"final to one of two, on its way":       {0, []func(*peer){landed("finalized", "null"), landed("confirmed", "null")}, pending(Confirmed), false},
		"final to one of two, the other behind": {0, []func(*peer){landed("finalized", "null"), behind}, pending(Processed), false},
		"final to one, unknown to one past it":  {0, []func(*peer){landed("finalized", "null"), truth}, Status{}, true},
		"final in two slots":                    {0, []func(*peer){landed("finalized", "null"), elsewhere}, Status{}, true},
		"final with two results":                {0, []func(*peer){landed("finalized", "null"), landed("finalized", `"AccountInUse"`)}, Status{}, true},
		"confirmed, and not seen yet":           {0, []func(*peer){landed("confirmed", "null"), truth}, pending(Processed), false},
		"unknown to all":                        {0, []func(*peer){truth, truth, truth}, unknown, false},
		"unknown to two, invented by one":       {0, []func(*peer){hanging, truth, truth}, unknown, false},
		"unknown to one and to one behind":      {0, []func(*peer){truth, behind}, Status{Slot: 932, Finalized: Height{890, 900}}, false},
		"unknown to one that forgot": {
			0,
			[]func(*peer){truth, func(p *peer) { p.oldest = 960 }},
			Status{Slot: 1_032, Oldest: 960, Finalized: Height{990, 1_000}},
			false,
		},
		"one is enough, and the first is down": {1, []func(*peer){down, landed("finalized", "null")}, final, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			peers := make([]*peer, 0, len(tc.peers))
			for _, edit := range tc.peers {
				peers = append(peers, honest().with(edit))
			}
			got, err := quorumOf(t, tc.need, peers...).Status(t.Context(), Signature{1})
			if errors.Is(err, ErrDisagree) != tc.clash || err != nil && !tc.clash {
				t.Fatalf("err = %v, want a disagreement: %t", err, tc.clash)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHistoryIsWhatEnoughEndpointsHold(t *testing.T) {
	holds := func(numbers ...int) func(*peer) { return func(p *peer) { p.history = numbers } }
	cases := map[string]struct {
		peers []func(*peer)
		want  []int
		clash bool
	}{
		"all the same":               {[]func(*peer){holds(2, 1), holds(2, 1)}, []int{2, 1}, false},
		"one is not as far":          {[]func(*peer){holds(3, 2, 1), holds(2, 1)}, []int{2, 1}, false},
		"one hides something":        {[]func(*peer){holds(3, 1), holds(3, 2, 1), holds(3, 2, 1)}, []int{3, 2, 1}, false},
		"one of two hides something": {[]func(*peer){holds(3, 1), holds(3, 2, 1)}, []int{}, true},
		"one invents something":      {[]func(*peer){holds(9, 2, 1), holds(2, 1), holds(2, 1)}, []int{2, 1}, false},
		"one has forgotten":          {[]func(*peer){holds(3), holds(3, 2, 1)}, []int{}, true},
		"nothing happened":           {[]func(*peer){holds(), holds()}, []int{}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			peers := make([]*peer, 0, len(tc.peers))
			for _, edit := range tc.peers {
				peers = append(peers, honest().with(edit))
			}
			list, err := quorumOf(t, 0, peers...).Signatures(t.Context(), Address{1}, Signature{})
			if errors.Is(err, ErrDisagree) != tc.clash || err != nil && !tc.clash {
				t.Fatalf("err = %v, want a disagreement: %t", err, tc.clash)
			}
			got := make([]int, 0, len(list))
			for _, info := range list {
				got = append(got, int(info.Signature[0]))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABlockhashEndsAsLateAsAnySays(t *testing.T) {
	at := func(slot uint64) *peer { return honest().with(func(p *peer) { p.slot = slot }) }
	cases := map[string]struct {
		peers []*peer
		want  uint64
		clash bool
	}{
		"the latest end of two":           {[]*peer{at(1_000), at(1_004)}, 1_174, false},
		"one whose end would be too soon": {[]*peer{at(100), at(1_000), at(1_000)}, 1_170, false},
		"one whose end never comes":       {[]*peer{at(1 << 60), at(1_000), at(1_000)}, 1_170, false},
		"two of different times":          {[]*peer{at(100), at(1_000)}, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := quorumOf(t, 0, tc.peers...).Blockhash(t.Context())
			if errors.Is(err, ErrDisagree) != tc.clash || err != nil && !tc.clash || got.LastValidHeight != tc.want {
				t.Errorf("got %+v, %v; want the end %d, a disagreement: %t", got, err, tc.want, tc.clash)
			}
		})
	}
}

func TestOneEndpointCannotRefuseForAll(t *testing.T) {
	refuses := func(p *peer) { p.simulate = `{"InstructionError":[0,{"Custom":105}]}` }
	got, err := quorumOf(t, 0, honest().with(refuses), honest()).Simulate(t.Context(), []byte{1})
	if err != nil || got.Failure != nil {
		t.Errorf("one of two refuses: %+v, %v", got, err)
	}
	got, err = quorumOf(t, 0, honest().with(refuses), honest().with(refuses)).Simulate(t.Context(), []byte{1})
	if err != nil || !got.Failure.IsCustom(105) {
		t.Errorf("both refuse: %+v, %v", got, err)
	}
	got, err = quorumOf(t, 0, honest().with(refuses), honest().with(func(p *peer) { p.simulate = `"BlockhashNotFound"` })).Simulate(t.Context(), []byte{1})
	if err != nil || classOfFailure(got.Failure) != Expired {
		t.Errorf("for two reasons: %+v, %v; want the one that leaves most open", got, err)
	}
	effect := func(peers ...*peer) (Simulation, error) {
		simulation, _, err := quorumOf(t, 0, peers...).SimulateAccounts(t.Context(), []byte{1}, Address{1})
		return simulation, err
	}
	if _, err = effect(honest(), honest().with(forked)); !errors.Is(err, ErrDisagree) {
		t.Errorf("two effects: %v, want %v", err, ErrDisagree)
	}
	if _, err = effect(honest().with(forked), honest(), honest()); err != nil {
		t.Errorf("two of three show one effect: %v", err)
	}
	if _, err = quorumOf(t, 0, honest().with(refuses), honest().with(down)).Simulate(t.Context(), []byte{1}); err == nil {
		t.Error("believed one refusal")
	}
}

func TestSendReachesAllThatTakeIt(t *testing.T) {
	refuses := func(p *peer) { p.sendCode = -32003 }
	good, bad := honest(), honest().with(refuses)
	if err := quorumOf(t, 0, bad, good).Send(t.Context(), []byte{1}); err != nil || good.count("sendTransaction") != 1 {
		t.Errorf("%v, sent %d times", err, good.count("sendTransaction"))
	}
	err := quorumOf(t, 0, honest().with(refuses), honest().with(refuses)).Send(t.Context(), []byte{1})
	if ClassOf(err) != Stop {
		t.Errorf("refused by all for one reason: %v is %s, want %s", err, ClassOf(err), Stop)
	}
	err = quorumOf(t, 0, honest().with(refuses), honest().with(limited)).Send(t.Context(), []byte{1})
	if ClassOf(err) != Retry {
		t.Errorf("refused by one, and by one not now: %v is %s, want %s", err, ClassOf(err), Retry)
	}
}

func TestWhenOneIsEnoughTheOthersStandIn(t *testing.T) {
	first, second := honest().with(limited), honest()
	q := quorumOf(t, 1, first, second)
	for range 3 {
		if _, err := q.Account(t.Context(), Address{1}, Finalized); err != nil {
			t.Fatal(err)
		}
	}
	if first.count("getMultipleAccounts") != 0 || first.count("getGenesisHash") > 2 || second.count("getMultipleAccounts") != 3 {
		t.Errorf("calls: %v and %v", first.calls, second.calls)
	}
}

// A node that comes back is asked again which network it is of.
func TestAnEndpointIsVettedAgainAfterAFailure(t *testing.T) {
	moved := honest()
	q := quorumOf(t, 2, moved, honest(), honest().with(forked))
	if _, err := q.Account(t.Context(), Address{1}, Finalized); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(*peer)) {
		moved.mu.Lock()
		defer moved.mu.Unlock()
		f(moved)
	}
	edit(down)
	for moved.count("getMultipleAccounts") < 2 {
		_, _ = q.Account(t.Context(), Address{1}, Finalized) // until it has failed
	}
	edit(func(p *peer) { p.broken = 0; foreign(p); p.account = "truth" })
	if _, err := q.Account(t.Context(), Address{1}, Finalized); !errors.Is(err, ErrNetwork) {
		t.Errorf("err = %v, want %v", err, ErrNetwork)
	}
}

func TestQuorumsThatCouldDisagreeAreRefused(t *testing.T) {
	cases := map[string]struct{ endpoints, need, want int }{
		"one":                     {1, 0, 1},
		"two":                     {2, 0, 2},
		"three":                   {3, 0, 2},
		"any of three":            {3, 1, 1},
		"all of three":            {3, 3, 3},
		"none":                    {0, 0, 0},
		"more than there are":     {2, 3, 0},
		"fewer than none":         {2, -1, 0},
		"two halves of four":      {4, 2, 0},
		"more than half of four":  {4, 3, 3},
		"less than half of seven": {7, 3, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			q, err := NewQuorum(slices.Repeat([]string{"http://127.0.0.1:1"}, tc.endpoints), tc.need, Options{})
			if (err == nil) != (tc.want > 0) || err == nil && q.need != tc.want {
				t.Errorf("got %+v, %v; want %d", q, err, tc.want)
			}
		})
	}
}

func TestACallerWhoLeavesEndsAllCalls(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := quorumOf(t, 0, honest(), honest()).Account(ctx, Address{1}, Finalized)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want %v", err, context.Canceled)
	}
}
