// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/hubjoin"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// door is a join server with the place that members get behind it, in memory.
type door struct {
	*testing.T

	hub     *fakehub.Hub
	handler http.Handler
	seen    []string // what was observed
}

const doorHub = "join.example"

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{T: t, hub: fakehub.New(t, []fakehub.Index{{Of: &boursev1.Member{}, Name: "spec.wallet", Values: func(object client.Object) []string {
		return []string{string(object.(*boursev1.Member).Spec.Wallet)}
	}}})}
	gate, err := join.NewGate(join.GateOptions{Hub: doorHub, Network: join.Network(network), Random: rand.Reader, Now: d.hub.Now})
	if err != nil {
		t.Fatal(err)
	}
	members := hubjoin.New(hubjoin.Options{Client: d.hub, Live: d.hub, Server: "https://hub.example", Lifetime: time.Hour, Now: d.hub.Now})
	server := NewServer(gate, members, logr.Discard(), d.hub.Now)
	server.Observe = func(route, outcome string) { d.seen = append(d.seen, route+" "+outcome) }
	d.handler = server.Handler()
	return d
}

// post sends a body, and returns the status and what is answered.
func (d *door) post(path string, body any) (int, []byte) {
	d.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		d.Fatal(err)
	}
	request := httptest.NewRequestWithContext(d.Context(), http.MethodPost, path, bytes.NewReader(text))
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Body.Bytes()
}

// identity is somebody who asks: the wallet and the agent that the claim names, and who signs it in the wallet's and in the agent's place.
type identity struct {
	wallet, agent       string
	asWallet, asAgent   string
	nothing, sentBefore bool                                  // it sends nothing, or what was sent before
	before              func(d *door, member *signer.Keypair) // what happened since the wallet "member" joined
}

func identities() map[string]identity {
	member := identity{wallet: "member", agent: "agent", asWallet: "member", asAgent: "agent"}
	with := func(change func(i *identity)) identity {
		i := member
		change(&i)
		return i
	}
	return map[string]identity{
		"nobody":                 {nothing: true},
		"a stranger":             {wallet: "stranger", agent: "x", asWallet: "stranger", asAgent: "x"},
		"a member":               member,
		"another member's agent": with(func(i *identity) { i.agent, i.asAgent, i.asWallet = "other's agent", "other's agent", "other's agent" }),
		"a thief of the name":    with(func(i *identity) { i.asWallet, i.asAgent = "thief", "thief" }),
		"who saw a claim go by":  with(func(i *identity) { i.sentBefore = true }),
		"a suspended member":     with(func(i *identity) { i.before = suspend }),
		"a removed member":       with(func(i *identity) { i.before = removeMember }),
		"a member whose agent's time is over": with(func(i *identity) {
			i.before = func(d *door, _ *signer.Keypair) { d.hub.Step(2 * time.Hour) }
		}),
		"the agent of before": with(func(i *identity) {
			i.asWallet = "agent" // it has not got the wallet
			i.before = func(d *door, _ *signer.Keypair) {
				if reason := d.ask(joinPath, identity{wallet: "member", agent: "newer", asWallet: "member", asAgent: "newer"}); reason != "" {
					d.Fatal(reason)
				}
			}
		}),
		"a member by another way": {
			wallet: "elsewhere", agent: "x", asWallet: "elsewhere", asAgent: "x", before: func(d *door, _ *signer.Keypair) {
				elsewhere := &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: boursev1.MemberName}}
				elsewhere.Spec.Wallet = boursev1.SolanaAddress(pair("elsewhere").PublicKey().String())
				if err := d.hub.Create(d.Context(), elsewhere); err != nil {
					d.Fatal(err)
				}
			},
		},
	}
}

func memberOf(d *door, wallet *signer.Keypair) *boursev1.Member {
	m := &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: join.Namespace(join.Key(wallet.PublicKey())), Name: boursev1.MemberName}}
	d.hub.Read(m)
	return m
}

func suspend(d *door, wallet *signer.Keypair) {
	m := memberOf(d, wallet)
	m.Spec.State = boursev1.MemberSuspended
	d.hub.Edit(m)
}

func removeMember(d *door, wallet *signer.Keypair) {
	if err := d.hub.Delete(d.Context(), memberOf(d, wallet)); err != nil {
		d.Fatal(err)
	}
}

// kindOf is what the claims of a path ask for.
func kindOf(path string) join.Kind {
	switch path {
	case renewPath:
		return join.Renew
	case leavePath:
		return join.Leave
	default:
		return join.Join
	}
}

// body is what somebody sends to a path.
func (d *door) body(path string, who identity) any {
	d.Helper()
	wallet := pair(who.wallet).PublicKey()
	switch {
	case who.nothing:
		return struct{}{}
	case path == challengePath:
		return challengeRequest{Wallet: wallet.String()}
	}
	_, answer := d.post(challengePath, challengeRequest{Wallet: wallet.String()})
	var asked challengeAnswer
	if err := json.Unmarshal(answer, &asked); err != nil {
		d.Fatal(err)
	}
	challenge, err := join.ParseChallenge(asked.Challenge)
	if err != nil {
		d.Fatal(err)
	}
	claim := join.Claim{
		Version: join.Version, Kind: kindOf(path), Hub: doorHub, Network: join.Network(network),
		Wallet: join.Key(wallet), Agent: join.Key(pair(who.agent).PublicKey()), Challenge: challenge,
	}
	by := who.asWallet
	switch claim.Kind {
	case join.Join:
		claim.Roles, claim.Until = []join.Role{join.Buyer}, d.hub.Now().Add(time.Hour).UTC().Truncate(time.Second)
	case join.Leave:
		claim.Agent, claim.Mode = join.Key{}, join.WhenSettled
	case join.Renew:
		by = who.asAgent
	}
	message, err := claim.Encode()
	if err != nil {
		d.Fatal(err)
	}
	signature, err := pair(by).Sign(d.Context(), message)
	if err != nil {
		d.Fatal(err)
	}
	return claimRequest{Message: message, Signature: signature[:]}
}

// ask is what somebody is answered: the reason of a refusal, or nothing.
func (d *door) ask(path string, who identity) join.Reason {
	d.Helper()
	body := d.body(path, who)
	if who.sentBefore && path != challengePath {
		d.post(path, body)
	}
	status, answer := d.post(path, body)
	var refused refusalAnswer
	if err := json.Unmarshal(answer, &refused); err != nil {
		d.Fatal(err)
	}
	if (status == http.StatusOK) != (refused.Reason == "") || status != http.StatusOK && status != statusOf(refused.Reason) {
		d.Errorf("answered %d with the reason %q", status, refused.Reason)
	}
	if access := (accessAnswer{}); path != challengePath && refused.Reason == "" {
		want := join.Namespace(join.Key(pair(who.wallet).PublicKey()))
		if err := json.Unmarshal(answer, &access); err != nil || access.Namespace != want || (access.Token == "") != (path == leavePath) {
			d.Errorf("was given %+v, want access to %s", access, want)
		}
	}
	return refused.Reason
}

// What everybody is answered on every route. A route or an identity without its place in the table fails the test.
func TestEachRouteAnswersEachAsItShould(t *testing.T) {
	const yes = join.Reason("")
	table := map[string]map[string]join.Reason{
		challengePath: { // everybody may ask, and what is answered opens nothing
			"nobody": join.Malformed, "a stranger": yes, "a member": yes, "another member's agent": yes, "a thief of the name": yes,
			"who saw a claim go by": yes, "a suspended member": yes, "a removed member": yes, "a member whose agent's time is over": yes,
			"the agent of before": yes, "a member by another way": yes,
		},
		joinPath: { // whoever has the wallet, unless the market's administrator says no
			"nobody": join.Malformed, "a stranger": yes, "a member": yes, "another member's agent": join.WrongKey,
			"a thief of the name": join.WrongKey, "who saw a claim go by": join.Replayed, "a suspended member": join.Suspended,
			"a removed member": yes, "a member whose agent's time is over": yes, "the agent of before": join.WrongKey,
			"a member by another way": join.WalletTaken,
		},
		renewPath: { // the agent that the wallet delegated to, for as long as it said
			"nobody": join.Malformed, "a stranger": join.NotMember, "a member": yes, "another member's agent": join.WrongKey,
			"a thief of the name": join.WrongKey, "who saw a claim go by": join.Replayed, "a suspended member": join.Suspended,
			"a removed member": join.NotMember, "a member whose agent's time is over": join.Expired, "the agent of before": join.WrongKey,
			"a member by another way": join.NotMember,
		},
		leavePath: { // whoever has the wallet, suspended or not
			"nobody": join.Malformed, "a stranger": join.NotMember, "a member": yes, "another member's agent": join.WrongKey,
			"a thief of the name": join.WrongKey, "who saw a claim go by": join.Replayed, "a suspended member": yes,
			"a removed member": join.NotMember, "a member whose agent's time is over": yes, "the agent of before": join.WrongKey,
			"a member by another way": join.WalletTaken,
		},
	}
	for path := range (&Server{}).routes() {
		if table[path] == nil {
			t.Errorf("%s has no row", path)
		}
		for name, who := range identities() {
			t.Run(path+" of "+name, func(t *testing.T) {
				want, there := table[path][name]
				if !there {
					t.Fatal("the table does not say what is answered")
				}
				d := newDoor(t)
				for wallet, agent := range map[string]string{"member": "agent", "other": "other's agent"} {
					if reason := d.ask(joinPath, identity{wallet: wallet, agent: agent, asWallet: wallet, asAgent: agent}); reason != yes {
						t.Fatalf("%s may not join: %s", wallet, reason)
					}
				}
				if who.before != nil {
					who.before(d, pair("member"))
				}
				if got := d.ask(path, who); got != want {
					t.Errorf("answered %q, want %q", got, want)
				}
			})
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	d := newDoor(t)
	for path, want := range map[string]int{"/": http.StatusNotFound, "/v1/": http.StatusNotFound, "/v1/join/": http.StatusNotFound, "/metrics": http.StatusNotFound, "/v2/join": http.StatusNotFound} {
		if status, _ := d.post(path, struct{}{}); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	for path := range (&Server{}).routes() {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodConnect} {
			recorder := httptest.NewRecorder()
			d.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
			if recorder.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want %d", method, path, recorder.Code, http.StatusMethodNotAllowed)
			}
		}
	}
}

func TestEachRequestIsCountedOnce(t *testing.T) {
	d := newDoor(t)
	d.post(joinPath, d.body(joinPath, identities()["a member"]))
	d.post(renewPath, d.body(renewPath, identities()["a thief of the name"]))
	d.hub.Fail(func(string, client.Object) error { return errors.New("the API server is down") })
	d.post(joinPath, d.body(joinPath, identities()["a stranger"]))
	for len(d.seen) < 40 && !slices.Contains(d.seen, "challenge Busy") {
		d.post(challengePath, challengeRequest{Wallet: pair("w").PublicKey().String()})
	}
	want := []string{"challenge ok", "join ok", "challenge ok", "renew WrongKey", "challenge ok", "join error"}
	if len(d.seen) < len(want) {
		t.Fatalf("counted %v", d.seen)
	}
	if diff := cmp.Diff(want, d.seen[:len(want)]); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if !slices.Contains(d.seen, "challenge Busy") {
		t.Errorf("counted %v, want that too much was asked", d.seen)
	}
}
