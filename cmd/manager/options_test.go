// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/process"
)

const rpc = "--chain-rpc=https://one.example"

func TestParseNamesTheFlagAndTheFix(t *testing.T) {
	cases := map[string]struct {
		args []string
		want []string // parts of the error; none: the flags are good
	}{
		"a hub needs only the chain":          {args: []string{"--roles=market", rpc}},
		"everything that is missing is named": {args: nil, want: []string{"--chain-rpc is required", "--member-namespace is required", "--supplier-keypair is required", "--buyer-keypair is required"}},
		"a role that does not exist":          {args: []string{"--roles=seller", rpc}, want: []string{"--roles", `"seller"`, "market, supplier and buyer"}},
		"no role":                             {args: []string{"--roles=", rpc}, want: []string{"--roles"}},
		"an endpoint that is no URL":          {args: []string{"--roles=market", "--chain-rpc=localhost:8899"}, want: []string{"--chain-rpc", "https://"}},
		"a quorum that could disagree":        {args: []string{"--roles=market", rpc, rpc, rpc, rpc, "--chain-quorum=2"}, want: []string{"--chain-quorum", "2 of 4", "more than half"}},
		"more endpoints than there are":       {args: []string{"--roles=market", rpc, "--chain-quorum=2"}, want: []string{"--chain-quorum", "2 of 1"}},
		"any endpoint of two":                 {args: []string{"--roles=market", rpc, rpc, "--chain-quorum=1"}},
		"a namespace that cannot be one":      {args: []string{"--roles=supplier", rpc, "--supplier-keypair=k", "--member-namespace=A_B"}, want: []string{"--member-namespace", `"A_B"`}},
		"plain metrics for everybody":         {args: []string{"--roles=market", rpc, "--metrics-plain", "--metrics-address=:8080"}, want: []string{"--metrics-plain", "loopback"}},
		"plain metrics on loopback":           {args: []string{"--roles=market", rpc, "--metrics-plain", "--metrics-address=127.0.0.1:0"}},
		"a range that is no CIDR":             {args: []string{"--roles=market", rpc, "--registry-cidr=10.0.0.1"}, want: []string{"-registry-cidr", "CIDR"}},
		"two places for one key":              {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--buyer-signer-url=https://s.example"}, want: []string{"--buyer-keypair", "--buyer-signer-url", "one of them"}},
		"a remote signer of nobody":           {args: []string{"--roles=buyer", rpc, "--buyer-signer-url=https://s.example"}, want: []string{"--buyer-wallet is required"}},
		"a token for no remote signer":        {args: []string{"--roles=supplier", rpc, "--member-namespace=a", "--supplier-keypair=k", "--supplier-signer-token=t"}, want: []string{"--supplier-signer-url"}},
		"a remote signer":                     {args: []string{"--roles=buyer", rpc, "--buyer-signer-url=https://s.example", "--buyer-wallet=a"}},
		"a cap that is none":                  {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--buyer-daily-cap=USDC=5"}, want: []string{"-buyer-daily-cap", "MINT:DECIMALS=500"}},
		"a program that is no address":        {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--lease-program=bourse"}, want: []string{"-lease-program", `"bourse"`}},
		"an authority without a market":       {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--authority-keypair=k"}, want: []string{"--authority-…", "role market"}},
		"an authority without a key":          {args: []string{"--roles=market", rpc, "--authority-daily-cap=SOL=1"}, want: []string{"--authority-keypair"}},
		"an authority with two keys":          {args: []string{"--roles=market", rpc, "--authority-keypair=k", "--authority-signer-url=https://s.example"}, want: []string{"one of them"}},
		"an authority":                        {args: []string{"--roles=market", rpc, "--authority-keypair=k"}},
		"no time to sign":                     {args: []string{"--roles=market", rpc, "--signer-timeout=0s"}, want: []string{"--signer-timeout"}},
		"a hub that can be joined": {args: []string{
			"--roles=market", rpc, "--join-address=:9444", "--join-url=https://join.example:9444", "--join-cert-dir=/tls", "--join-token-lifetime=30m", "--join-min-stake=200", "--join-unseen-days=0",
		}},
		"a hub that is joined nowhere":       {args: []string{"--roles=market", rpc, "--join-address=9444"}, want: []string{"--join-address", "--join-url", "--join-cert-dir"}},
		"a hub that is joined by HTTP":       {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=http://join.example", "--join-cert-dir=/tls"}, want: []string{"--join-url", "https://"}},
		"tokens in clear":                    {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls", "--join-hub-url=http://hub.example"}, want: []string{"--join-hub-url", "https://"}},
		"tokens for a day":                   {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls", "--join-token-lifetime=24h"}, want: []string{"--join-token-lifetime"}},
		"a join server without an address":   {args: []string{"--roles=market", rpc, "--join-url=https://join.example"}, want: []string{"--join-address"}},
		"a hub that forgets members at once": {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls", "--join-unseen-days=13"}, want: []string{"--join-unseen-days", "14", "0 for never"}},
		"a hub that forgets them too late":   {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls", "--join-unseen-days=3651"}, want: []string{"--join-unseen-days", "3650"}},
		"a stake for nobody":                 {args: []string{"--roles=market", rpc, "--join-min-stake=200"}, want: []string{"--join-address"}},
		"more stake than there can be":       {args: []string{"--roles=market", rpc, "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls", "--join-min-stake=5000000000"}, want: []string{"--join-min-stake", "4294967295"}},
		"a join server of a buyer":           {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--join-address=:9444", "--join-url=https://j.example", "--join-cert-dir=/tls"}, want: []string{"role market"}},
		"a member that joined":               {args: []string{"--roles=supplier", rpc, "--supplier-keypair=k", "--hub-join=https://join.example", "--hub-join-agent-key=a"}},
		"a member that joined without a key": {args: []string{"--roles=supplier", rpc, "--supplier-keypair=k", "--hub-join=https://join.example"}, want: []string{"--hub-join-agent-key"}},
		"a member with two ways to its hub":  {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-join=https://join.example", "--hub-join-agent-key=a", "--hub-kubeconfig=h"}, want: []string{"--hub-kubeconfig", "one of them"}},
		"a buyer beside its hub":             {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k"}},
		"a buyer of another cluster":         {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-kubeconfig=h", "--member-namespace=a"}},
		"a buyer that is nowhere in the hub": {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-kubeconfig=h"}, want: []string{"--member-namespace is required by the role buyer", "your Member"}},
		"a buyer that joined":                {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-join=https://join.example", "--hub-join-agent-key=a", "--job-namespaces=ml,web"}},
		"jobs of what cannot be a namespace": {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-kubeconfig=h", "--member-namespace=a", "--job-namespaces=ml,A_B"}, want: []string{"--job-namespaces", `"A_B"`}},
		"jobs that are in the hub already":   {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--job-namespaces=ml"}, want: []string{"--job-namespaces", "--hub-join or --hub-kubeconfig"}},
		"jobs of a supplier":                 {args: []string{"--roles=supplier", rpc, "--supplier-keypair=k", "--member-namespace=a", "--hub-kubeconfig=h", "--job-namespaces=ml"}, want: []string{"--job-namespaces", "role buyer"}},
		"a market that joins":                {args: []string{"--roles=market", rpc, "--hub-join=https://join.example", "--hub-join-agent-key=a"}, want: []string{"--hub-join", "for members"}},
		"an agent's key for no hub":          {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--hub-join-agent-key=a"}, want: []string{"--hub-join: give it too"}},
		"a gateway":                          {args: []string{"--roles=market", rpc, "--gateway-address=:9445", "--gateway-cert-dir=/tls"}},
		"a gateway nowhere":                  {args: []string{"--roles=market", rpc, "--gateway-address=9445"}, want: []string{"--gateway-address", "--gateway-cert-dir"}},
		"a gateway without an address":       {args: []string{"--roles=market", rpc, "--gateway-self-signed=g.example"}, want: []string{"--gateway-address"}},
		"a gateway of a buyer":               {args: []string{"--roles=buyer", rpc, "--buyer-keypair=k", "--gateway-address=:9445", "--gateway-cert-dir=/tls"}, want: []string{"role market"}},
		"a word that is no flag":             {args: []string{"--roles=market", rpc, "help"}, want: []string{`"help"`}},
		"the version needs nothing else":     {args: []string{"--version"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.args, io.Discard)
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("err = %v, want parts %q", err, tc.want)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("err = %v, want it to say %q", err, part)
				}
			}
		})
	}
}

func TestParseReadsLists(t *testing.T) {
	const mint, mint2 = "8AUQgQXnjdKo8trtsaqn9xtM5NXXyE5gB4FG2ydoix6B", "8j492AKJgg99u7pTWxJb8mZYyVxHy45WRC4iExZgdzB6"
	o, err := parse([]string{
		"--roles=buyer, market,buyer", rpc, "--chain-rpc=http://two.example,http://three.example", "--buyer-keypair=k",
		"--buyer-daily-cap=SOL=1," + mint + ":6=5", "--buyer-daily-cap=" + mint2 + ":8=7", "--lease-program=" + mint + "," + mint2,
		"--hub-kubeconfig=h", "--member-namespace=a", "--job-namespaces=ml, web", "--job-namespaces=lab",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://one.example", "http://two.example", "http://three.example"}, o.chainRPC); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"SOL=1", mint + ":6=5", mint2 + ":8=7"}, o.buyerWallet.dailyCaps); diff != "" {
		t.Errorf("caps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ml", "web", "lab"}, o.jobNamespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if len(o.leasePrograms) != 2 || o.leasePrograms[0].String() != mint {
		t.Errorf("programs %v", o.leasePrograms)
	}
	if diff := cmp.Diff(controllers.Roles{controllers.Buyer, controllers.Market}, o.roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func TestLoggerWritesLevelsThatPeopleKnow(t *testing.T) {
	var output bytes.Buffer
	logger, err := process.NewLogger(&output, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	logger.V(1).Info("Found details")
	logger.Info("Changed condition")
	logger.Error(io.EOF, "Lost the hub")
	var levels []string
	for line := range strings.Lines(output.String()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		levels = append(levels, entry.Level)
	}
	if diff := cmp.Diff([]string{"debug", "info", "error"}, levels); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := process.NewLogger(io.Discard, "loud", "json"); err == nil || !strings.Contains(err.Error(), "--log-level") {
		t.Errorf("err = %v, want --log-level refused", err)
	}
	if _, err := process.NewLogger(io.Discard, "info", "xml"); err == nil || !strings.Contains(err.Error(), "--log-format") {
		t.Errorf("err = %v, want --log-format refused", err)
	}
}
