// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/signer"
)

var network = chain.Hash{7}

var leftAt = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func pair(name string) *signer.Keypair { return signer.FromSeed(sha256.Sum256([]byte(name))) }

// hub is a join server that lets everybody in, or nobody.
type hub struct {
	*httptest.Server

	t        testing.TB
	admitter *admitter
	client   *Client
	log      *bytes.Buffer
}

type admitter struct {
	mu     sync.Mutex
	claims []join.Claim
	err    error
	number int
	server string // of the hub's API; empty: one that is good
}

func (a *admitter) Admit(_ context.Context, claim join.Claim) (join.Access, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return join.Access{}, a.err
	}
	a.claims = append(a.claims, claim)
	a.number++
	return join.Access{
		Namespace: join.Namespace(claim.Wallet), Server: cmp.Or(a.server, "https://hub.example:6443"), CA: []byte("certificates"),
		Token: fmt.Sprintf("token-%d", a.number), Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
	}, nil
}

func (a *admitter) Renew(ctx context.Context, claim join.Claim) (join.Access, error) {
	return a.Admit(ctx, claim)
}

func (a *admitter) Leave(_ context.Context, claim join.Claim) (join.Departure, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return join.Departure{}, a.err
	}
	a.claims = append(a.claims, claim)
	return join.Departure{
		Namespace: join.Namespace(claim.Wallet), Since: leftAt, Known: true, Supplied: 2, Bought: 1, Until: leftAt.Add(time.Hour), Suspended: true,
	}, nil
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{t: t, admitter: &admitter{}, log: &bytes.Buffer{}}
	h.Server = httptest.NewUnstartedServer(nil)
	t.Cleanup(h.Close)
	h.StartTLS()
	h.restart("")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	client, err := NewClient(h.URL, authority)
	if err != nil {
		t.Fatal(err)
	}
	h.client = client
	return h
}

// restart gives the hub a new gate, as another replica has one.
func (h *hub) restart(name string) {
	h.t.Helper()
	if name == "" {
		name = strings.TrimPrefix(h.URL, "https://")
	}
	gate, err := join.NewGate(join.GateOptions{Hub: name, Network: join.Network(network), Random: rand.Reader, Now: time.Now})
	if err != nil {
		h.t.Fatal(err)
	}
	var mu sync.Mutex
	logger := funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(h.log, prefix, args)
	}, funcr.Options{Verbosity: 1})
	h.Config.Handler = NewServer(gate, h.admitter, logger, time.Now).Handler()
}

// signed is a good claim of the wallet "w", and its signature.
func (h *hub) signed(kind join.Kind) ([]byte, chain.Signature) {
	h.t.Helper()
	challenge, on, err := h.client.Challenge(h.t.Context(), pair("w").PublicKey())
	if err != nil || on != network {
		h.t.Fatal(on, err)
	}
	claim := join.Claim{
		Version: join.Version, Kind: kind, Hub: h.client.Hub(), Network: join.Network(on),
		Wallet: join.Key(pair("w").PublicKey()), Agent: join.Key(pair("a").PublicKey()), Challenge: challenge,
	}
	by := pair("a")
	if kind == join.Join {
		by, claim.Roles, claim.Until = pair("w"), []join.Role{join.Buyer}, challenge.Expires
	}
	if kind == join.Leave {
		by, claim.Agent, claim.Mode = pair("w"), join.Key{}, join.AtOnce
	}
	message, err := claim.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	signature, err := by.Sign(h.t.Context(), message)
	if err != nil {
		h.t.Fatal(err)
	}
	return message, signature
}

func TestWhoLeavesIsToldWhatIsOpen(t *testing.T) {
	h := newHub(t)
	message, signature := h.signed(join.Leave)
	got, err := h.client.Leave(t.Context(), message, signature)
	if err != nil {
		t.Fatal(err)
	}
	want := join.Departure{
		Namespace: join.Namespace(join.Key(pair("w").PublicKey())), Since: leftAt, Known: true, Supplied: 2, Bought: 1,
		Until: leftAt.Add(time.Hour), Suspended: true,
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("departure (-want +got):\n%s", diff)
	}
	if claims := h.admitter.claims; len(claims) != 1 || claims[0].Kind != join.Leave || claims[0].Mode != join.AtOnce {
		t.Errorf("claims %+v", claims)
	}
	if _, err := h.client.Leave(t.Context(), message, signature); !errors.Is(err, join.Replayed) {
		t.Errorf("the second time: %v, want %s", err, join.Replayed)
	}
	message, signature = h.signed(join.Leave)
	if _, err := h.client.Send(t.Context(), join.Join, message, signature); !errors.Is(err, join.Malformed) {
		t.Errorf("sent as a join: %v, want %s", err, join.Malformed)
	}
	message, signature = h.signed(join.Join)
	if _, err := h.client.Leave(t.Context(), message, signature); !errors.Is(err, join.Malformed) {
		t.Errorf("a join that was sent to leave: %v, want %s", err, join.Malformed)
	}
	h.admitter.err = join.Refuse(join.NotMember, "The wallet has left")
	message, signature = h.signed(join.Leave)
	if _, err := h.client.Leave(t.Context(), message, signature); !errors.Is(err, join.NotMember) {
		t.Errorf("when it is gone: %v, want %s", err, join.NotMember)
	}
}

func TestAClaimIsAnsweredWithAccess(t *testing.T) {
	for _, kind := range []join.Kind{join.Join, join.Renew} {
		t.Run(string(kind), func(t *testing.T) {
			h := newHub(t)
			message, signature := h.signed(kind)
			access, err := h.client.Send(t.Context(), kind, message, signature)
			if err != nil {
				t.Fatal(err)
			}
			if access.Namespace != join.Namespace(join.Key(pair("w").PublicKey())) || access.Token != "token-1" || string(access.CA) != "certificates" {
				t.Errorf("access %s", access)
			}
			if _, err := h.client.Send(t.Context(), kind, message, signature); !errors.Is(err, join.Replayed) {
				t.Errorf("the second time: %v, want %s", err, join.Replayed)
			}
			if log := h.log.String(); strings.Contains(log, "token-1") || !strings.Contains(log, access.Namespace) {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

func TestNoTokenIsSentInClear(t *testing.T) {
	h := newHub(t)
	h.admitter.server = "http://hub.example:8080"
	message, signature := h.signed(join.Renew)
	if _, err := h.client.Send(t.Context(), join.Renew, message, signature); !errors.Is(err, ErrHub) || !strings.Contains(err.Error(), "http://hub.example:8080") {
		t.Errorf("got %v, want %v", err, ErrHub)
	}
}

func TestReasonsReachTheMember(t *testing.T) {
	h := newHub(t)
	for _, reason := range []join.Reason{join.Suspended, join.NotMember, join.WalletTaken, join.Busy, join.WrongKey} {
		h.admitter.err = join.Refuse(reason, "the detail")
		message, signature := h.signed(join.Renew)
		_, err := h.client.Send(t.Context(), join.Renew, message, signature)
		if refusal, ok := errors.AsType[*join.Refusal](err); !ok || refusal.Reason != reason || refusal.Detail != "the detail" {
			t.Errorf("%s: got %v", reason, err)
		}
	}
	h.admitter.err = errors.New("etcd at 10.0.0.1 is down")
	message, signature := h.signed(join.Join)
	if _, err := h.client.Send(t.Context(), join.Join, message, signature); !errors.Is(err, join.Busy) || strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("got %v: what is wrong with the hub is not for strangers", err)
	}
	if !strings.Contains(h.log.String(), "10.0.0.1") {
		t.Errorf("the log does not say it:\n%s", h.log)
	}
}

// A hub that asks for a signature over another hub's challenge would join that one in the member's name.
func TestNothingIsSignedForAHubThatPassesOnAnothersChallenge(t *testing.T) {
	h := newHub(t)
	h.restart("other.example")
	if _, _, err := h.client.Challenge(t.Context(), pair("w").PublicKey()); !errors.Is(err, ErrHub) || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("got %v, want %v", err, ErrHub)
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	h := newHub(t)
	cases := map[string]struct {
		method, path, body string
		status             int
	}{
		"a page":               {http.MethodGet, challengePath, "", http.StatusMethodNotAllowed},
		"nothing there":        {http.MethodPost, "/v1/stay", "{}", http.StatusNotFound},
		"no JSON":              {http.MethodPost, joinPath, "message", http.StatusBadRequest},
		"two objects":          {http.MethodPost, joinPath, "{}{}", http.StatusBadRequest},
		"no claim":             {http.MethodPost, joinPath, "{}", http.StatusBadRequest},
		"a wallet that is not": {http.MethodPost, challengePath, `{"wallet":"0"}`, http.StatusBadRequest},
		"too much":             {http.MethodPost, renewPath, `{"message":"` + strings.Repeat("A", maxBody) + `"}`, http.StatusBadRequest},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), tc.method, h.URL+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := h.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if response.StatusCode != tc.status {
				t.Errorf("status %s, want %d", response.Status, tc.status)
			}
			var answer refusalAnswer
			if tc.status == http.StatusBadRequest && (json.NewDecoder(response.Body).Decode(&answer) != nil || answer.Reason != join.Malformed) {
				t.Errorf("answer %+v", answer)
			}
		})
	}
}

func TestOneThatAsksTooMuchIsToldToComeBack(t *testing.T) {
	h := newHub(t)
	var last error
	for range 5 * burstEach {
		_, _, last = h.client.Challenge(t.Context(), pair("w").PublicKey())
	}
	if !errors.Is(last, join.Busy) {
		t.Errorf("got %v, want %s", last, join.Busy)
	}
}

// The gate remembers every challenge that was used until it expires, so no more may be used than it has room for.
func TestTheGateHasRoomForAllThatIsLetIn(t *testing.T) {
	if most := burst + perSecond*join.Lifetime/time.Second; most > join.MostPending {
		t.Errorf("%d claims can be let in within %s, and the gate has room for %d", most, join.Lifetime, join.MostPending)
	}
}

func newKeeper(h *hub, on chain.Hash) *Keeper {
	logger := funcr.New(func(string, string) {}, funcr.Options{})
	return NewKeeper(KeeperOptions{
		Client: h.client, Wallet: pair("w").PublicKey(), Agent: pair("a"), Log: logger, Now: time.Now,
		Network: func(context.Context) (chain.Hash, error) { return on, nil },
	})
}

func TestAKeeperPutsItsNewestTokenOnRequests(t *testing.T) {
	h := newHub(t)
	k := newKeeper(h, network)
	var seen []string
	status := http.StatusOK
	api := k.Wrap(roundTrip(func(request *http.Request) (*http.Response, error) {
		seen = append(seen, request.Header.Get("Authorization"))
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(""))}, nil
	}))
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for range 2 {
		if _, err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := api.RoundTrip(request); err != nil { //nolint:bodyclose // there is none
			t.Fatal(err)
		}
	}
	if diff := gocmp.Diff([]string{"Bearer token-1", "Bearer token-2"}, seen); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	if request.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
	status = http.StatusUnauthorized
	for range 3 {
		if _, err := api.RoundTrip(request); err != nil { //nolint:bodyclose // there is none
			t.Fatal(err)
		}
	}
	if len(k.wake) != 1 {
		t.Error("a token that the hub no longer takes does not wake the keeper")
	}
	if got := h.admitter.claims[0]; got.Kind != join.Renew || got.Agent != join.Key(pair("a").PublicKey()) {
		t.Errorf("claim %+v", got)
	}
}

func TestAKeeperKeepsWhatItHasWhenTheHubDoesNotAnswer(t *testing.T) {
	h := newHub(t)
	k := newKeeper(h, network)
	if _, err := k.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.admitter.err = errors.New("down")
	if _, err := k.Renew(t.Context()); err == nil || k.access.Token != "token-1" {
		t.Errorf("got %v, and the token %q", err, k.access.Token)
	}
}

func TestAKeeperKnowsWhetherItIsAMember(t *testing.T) {
	steps := []struct {
		name string
		err  error
		want bool
	}{
		{"with a token", nil, false},
		{"when the hub is down", errors.New("down"), false},
		{"when it has left", join.Refuse(join.NotMember, "It has left"), true},
		{"when the hub is busy after that", join.Refuse(join.Busy, "Come back"), true},
		{"when the hub is down after that", errors.New("down"), true},
		{"when it is suspended", join.Refuse(join.Suspended, "It is suspended"), false},
		{"when it has left again", join.Refuse(join.NotMember, "It has left"), true},
		{"when it has joined again", nil, false},
	}
	h := newHub(t)
	k := newKeeper(h, network)
	var told bytes.Buffer
	k.o.Log = funcr.New(func(prefix, args string) { fmt.Fprintln(&told, prefix, args) }, funcr.Options{})
	for _, step := range steps {
		h.admitter.err = step.err
		before := k.refusal()
		_, err := k.Renew(t.Context())
		if (err == nil) != (step.err == nil) {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err != nil {
			k.tell(before, err)
			k.tell(k.refusal(), err)
		}
		if got := k.NotMember(); got != step.want {
			t.Errorf("%s: not a member is %t", step.name, got)
		}
	}
	if got := strings.Count(told.String(), "Lost the membership"); got != 2 {
		t.Errorf("it was said %d times that the member has left, want once each time:\n%s", got, told.String())
	}
}

func TestAKeeperSignsForItsOwnNetworkOnly(t *testing.T) {
	h := newHub(t)
	if _, err := newKeeper(h, chain.Hash{8}).Renew(t.Context()); !errors.Is(err, ErrHub) || !strings.Contains(err.Error(), "--chain-rpc") {
		t.Errorf("got %v, want %v", err, ErrHub)
	}
	if len(h.admitter.claims) > 0 {
		t.Error("something was signed")
	}
}

func TestAKeeperEndsWhenItIsTold(t *testing.T) {
	h := newHub(t)
	k := newKeeper(h, network)
	if _, err := k.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- k.Start(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if half := k.half(); half < 29*time.Minute || half > 31*time.Minute {
		t.Errorf("a token of an hour is renewed after %s", half)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }
