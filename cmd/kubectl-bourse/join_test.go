// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/signer"
)

const hubToken = "secret-token-of-the-hub"

// admitter lets everybody in, or says why not.
type admitter struct {
	claims     []join.Claim
	err        error
	departures []join.Departure // one for each claim to leave; then the wallet has left
}

func (a *admitter) Leave(_ context.Context, claim join.Claim) (join.Departure, error) {
	a.claims = append(a.claims, claim)
	if a.err != nil || len(a.departures) == 0 {
		return join.Departure{}, cmp.Or(a.err, join.Refuse(join.NotMember, "The wallet has left"))
	}
	next := a.departures[0]
	a.departures = a.departures[1:]
	return next, nil
}

func (a *admitter) Admit(_ context.Context, claim join.Claim) (join.Access, error) {
	a.claims = append(a.claims, claim)
	return join.Access{
		Namespace: "member-1", Server: "https://hub.example:6443", CA: []byte("certificates"), Token: hubToken, Expires: time.Now().Add(time.Hour),
	}, a.err
}

func (a *admitter) Renew(ctx context.Context, claim join.Claim) (join.Access, error) {
	return a.Admit(ctx, claim)
}

// joinBench is a hub, and a folder with a wallet and the hub's certificate.
type joinBench struct {
	*admitter

	t      *testing.T
	dir    string
	url    string
	wallet chain.Address
}

func newJoinBench(t *testing.T) *joinBench {
	t.Helper()
	b := &joinBench{admitter: &admitter{}, t: t, dir: t.TempDir()}
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	gate, err := join.NewGate(join.GateOptions{
		Hub: server.Listener.Addr().String(), Network: join.Network{7}, Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config = &http.Server{Handler: joinhttp.NewServer(gate, b.admitter, logr.Discard(), time.Now).Handler()}
	server.StartTLS()
	b.url = server.URL
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(b.path("ca.crt"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	wallet, err := signer.NewFile(b.path("wallet.json"))
	if err != nil {
		t.Fatal(err)
	}
	b.wallet = wallet.PublicKey()
	return b
}

func (b *joinBench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *joinBench) join(more ...string) (code int, stdout, stderr string) {
	b.t.Helper()
	var out, problems bytes.Buffer
	args := append([]string{
		"join", "--hub", b.url, "--hub-ca", b.path("ca.crt"), "--wallet", b.path("wallet.json"), "--agent-key", b.path("agent.json"),
		"--out", b.path("kubeconfig"),
	}, more...)
	code = execute(b.t.Context(), args, &out, &problems, time.Now)
	return code, out.String(), problems.String()
}

func TestJoinWritesAKubeconfig(t *testing.T) {
	b := newJoinBench(t)
	code, stdout, stderr := b.join("--display-name", "Fjord GPU", "--role", "supplier", "--cluster-uid", "uid-1")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if want := "bourse-manager --hub-join " + b.url + " --hub-join-ca " + b.path("ca.crt") + " --hub-join-agent-key " + b.path("agent.json"); !strings.Contains(stdout, want) {
		t.Errorf("it does not say %q:\n%s", want, stdout)
	}
	config, err := clientcmd.BuildConfigFromFlags("", b.path("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://hub.example:6443" || config.BearerToken != hubToken || string(config.CAData) != "certificates" {
		t.Errorf("config %s", config.Host)
	}
	if info, err := os.Stat(b.path("kubeconfig")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig's mode is %v, %v", info, err)
	}
	agent, err := signer.FromFile(b.path("agent.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := b.claims[0]
	want := join.Claim{
		Version: join.Version, Kind: join.Join, Hub: strings.TrimPrefix(b.url, "https://"), Network: join.Network{7}, Wallet: join.Key(b.wallet),
		Agent: join.Key(agent.PublicKey()), Challenge: got.Challenge, Cluster: "uid-1", Roles: []join.Role{join.Supplier}, Name: "Fjord GPU", Until: got.Until,
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
	for _, part := range []string{" s  got a challenge", " s  signed with the wallet " + b.wallet.String(), " s  joined: namespace member-1", " s  wrote "} {
		if !strings.Contains(stdout, part) {
			t.Errorf("it does not say %q:\n%s", part, stdout)
		}
	}
	if strings.Contains(stdout+stderr, hubToken) {
		t.Error("the token is shown")
	}
	if code, _, stderr := b.join(); code != 0 || b.claims[1].Agent != want.Agent || len(b.claims[1].Roles) != 2 {
		t.Errorf("the second time: exit %d, claim %+v: %s", code, b.claims[1], stderr)
	}
}

func TestJoinSaysWhyNot(t *testing.T) {
	cases := map[string]struct {
		args []string
		err  error
		says string
	}{
		"the hub refuses":    {nil, join.Refuse(join.Suspended, "The admin has suspended you"), "Suspended: The admin"},
		"another network":    {[]string{"--genesis-hash", "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"}, nil, "--genesis-hash"},
		"a role that is not": {[]string{"--role", "market"}, nil, "roles must be"},
		"a hub by HTTP":      {[]string{"--hub", "http://join.example"}, nil, "--hub"},
		"no wallet there":    {[]string{"--wallet", "nowhere.json"}, nil, "--wallet"},
		"no authority there": {[]string{"--hub-ca", "nowhere.crt"}, nil, "--hub-ca"},
		"no folder for it":   {[]string{"--out", "nowhere/kubeconfig"}, nil, "--out"},
		"for ever":           {[]string{"--delegate-for", "9000h"}, nil, "within 90 days"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newJoinBench(t)
			b.err = tc.err
			code, stdout, stderr := b.join(tc.args...)
			if code != exitError || !strings.Contains(stderr, tc.says) || strings.Contains(stdout+stderr, hubToken) {
				t.Errorf("exit %d, want one that says %q:\n%s%s", code, tc.says, stdout, stderr)
			}
			if _, err := os.Stat(b.path("kubeconfig")); err == nil {
				t.Error("a kubeconfig was written")
			}
		})
	}
}
