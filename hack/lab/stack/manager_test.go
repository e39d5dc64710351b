// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
)

func TestWithFlags(t *testing.T) {
	cases := map[string]struct {
		args []string
		set  map[string]string
		want []string
	}{
		"a flag is replaced":               {[]string{"--a=1", "--b=2"}, map[string]string{"a": "9"}, []string{"--b=2", "--a=9"}},
		"a missing flag is added":          {[]string{"--b=2"}, map[string]string{"a": "9"}, []string{"--b=2", "--a=9"}},
		"every one of several is replaced": {[]string{"--a=1", "-a=2"}, map[string]string{"a": "9"}, []string{"--a=9"}},
		"a longer name is another flag":    {[]string{"--ab=1"}, map[string]string{"a": "9"}, []string{"--ab=1", "--a=9"}},
		"nothing to replace":               {[]string{"--b=2"}, nil, []string{"--b=2"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, withFlags(tc.args, tc.set)); diff != "" {
				t.Errorf("withFlags (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindDeployment(t *testing.T) {
	const deploy = "kind: Deployment\nspec: {template: {spec: {serviceAccountName: sa, containers: [{args: [--a, --b=1]}]}}}\n"
	cases := map[string]struct {
		rendered string
		want     deployment
		wantErr  string
	}{
		"one among others": {"---\n# a comment\nkind: Service\n---\n" + deploy + "---\nkind: Role\n", deployment{"sa", []string{"--a", "--b=1"}}, ""},
		"none":             {"---\nkind: Service\n", deployment{}, "0 Deployments"},
		"two":              {deploy + "---\n" + deploy, deployment{}, "2 Deployments"},
		"no YAML":          {"---\n\tx", deployment{}, "parse chart"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := findDeployment(tc.rendered)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("findDeployment: error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(deployment{})); diff != "" {
				t.Errorf("findDeployment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheMarketIsFilledInFromTheState(t *testing.T) {
	state := State{
		Chain: &Chain{
			ProgramID: "program", GenesisHash: "genesis", Treasury: "treasury",
			Mints: map[string]Mint{"IO": {Address: "io", Decimals: 8}, "USDC": {Address: "usdc", Decimals: 6}},
		},
		Wallets: map[string]Wallet{
			Supplier: {Address: "seller"}, Buyer: {Address: "payer"}, Authority: {Address: "ruler"}, Arbiter: {Address: "judge"},
		},
	}
	text, err := renderFile("../market.yaml", state)
	if err != nil {
		t.Fatal(err)
	}
	var market struct {
		Spec struct {
			ProgramID, GenesisHash, Treasury, Authority string
			Arbitration                                 struct{ Arbiter string }
			Tokens                                      []struct {
				Symbol, Mint string
				Decimals     int
			}
		}
	}
	if err := yaml.Unmarshal([]byte(text[strings.LastIndex(text, "---"):]), &market); err != nil {
		t.Fatal(err)
	}
	got := []string{market.Spec.ProgramID, market.Spec.GenesisHash, market.Spec.Treasury, market.Spec.Authority, market.Spec.Arbitration.Arbiter}
	for _, token := range market.Spec.Tokens {
		got = append(got, token.Symbol, token.Mint)
	}
	if diff := cmp.Diff([]string{"program", "genesis", "treasury", "ruler", "judge", "IO", "io", "USDC", "usdc"}, got); diff != "" {
		t.Errorf("market (-want +got):\n%s", diff)
	}
	for _, want := range []string{"wallet: seller", "wallet: payer"} {
		if !strings.Contains(text, want) {
			t.Errorf("no member has %q", want)
		}
	}
	delete(state.Wallets, Buyer)
	if _, err := renderFile("../market.yaml", state); err == nil {
		t.Error("a market without a buyer: no error")
	}
}

func TestPoolsAreThoseWithNodesInTheHub(t *testing.T) {
	file := fakenode.File{Pools: []fakenode.Pool{{Name: "oslo", Cluster: Hub}, {Name: "lima", Cluster: "b"}}}
	if diff := cmp.Diff([]string{"oslo", "real"}, Options{RealNodes: 2}.pools(file)); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
}
