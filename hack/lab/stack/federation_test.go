// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
)

const adminKubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: hub
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Y2E=}
users:
- name: admin
  user: {client-certificate-data: Y2VydA==, client-key-data: c2VjcmV0}
contexts:
- name: hub
  context: {cluster: hub, user: admin}
current-context: hub
`

// A supplier's way into the hub has its own token, goes through the link, trusts the hub's certificate, and holds nothing of the
// administrator's.
func TestAKubeconfigHoldsOneAccountOnly(t *testing.T) {
	cases := map[string]struct {
		of   account
		want map[string]any
	}{
		"by the usual way": {account{cluster: "hub", namespace: "bourse-system", name: "bourse"}, map[string]any{
			"server": "https://127.0.0.1:6443", "certificate-authority-data": "Y2E=",
		}},
		"through a link, where the hub has another address": {account{cluster: "hub", namespace: "porto", name: "member", server: "https://127.0.0.1:7000"}, map[string]any{
			"server": "https://127.0.0.1:7000", "certificate-authority-data": "Y2E=", "tls-server-name": "localhost",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			text, err := tc.of.kubeconfig([]byte(adminKubeconfig), "t0ken")
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := yaml.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{
				"apiVersion": "v1", "kind": "Config", "current-context": "hub",
				"clusters": []any{map[string]any{"name": "hub", "cluster": tc.want}},
				"users":    []any{map[string]any{"name": tc.of.name, "user": map[string]any{"token": "t0ken"}}},
				"contexts": []any{map[string]any{"name": "hub", "context": map[string]any{"cluster": "hub", "user": tc.of.name, "namespace": tc.of.namespace}}},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("kubeconfig (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := (account{}).kubeconfig([]byte("clusters: []"), "t0ken"); err == nil {
		t.Error("a kubeconfig without a cluster: no error")
	}
}

func TestAFederationsMarketHasEachSupplierAsAMember(t *testing.T) {
	state := State{
		Chain:     &Chain{Mints: map[string]Mint{"IO": {}, "USDC": {}}},
		Suppliers: map[string]Remote{"oslo": {}, "porto": {}},
		Wallets: map[string]Wallet{
			"oslo": {Address: "wallet-of-oslo"}, "porto": {Address: "wallet-of-porto"},
			Buyer: {Address: "payer"}, Authority: {Address: "ruler"}, Arbiter: {Address: "judge"},
		},
	}
	text, err := renderFile("../market.yaml", state)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Namespace string }
			Spec     struct{ Wallet string }
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object.Kind == "Member" {
			got[object.Metadata.Namespace] = object.Spec.Wallet
		}
	}
	want := map[string]string{"oslo": "wallet-of-oslo", "porto": "wallet-of-porto", "buyer": "payer"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestAMemberIsBoundToItsNamespace(t *testing.T) {
	text, err := renderFile("../member.yaml", map[string]string{
		"Namespace": "porto", "Account": "member", "Role": memberRole, "ReaderRole": readerRole,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Namespace string }
			RoleRef  struct{ Name string }
			Subjects []struct{ Name, Namespace string }
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		for _, subject := range object.Subjects {
			got[object.Kind+" in "+object.Metadata.Namespace] = subject.Namespace + "/" + subject.Name + " may " + object.RoleRef.Name
		}
	}
	want := map[string]string{
		"RoleBinding in porto":   "porto/member may bourse-member",
		"ClusterRoleBinding in ": "porto/member may bourse-member-reader",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
}

func TestPoolsApartAreInClustersOfTheirOwn(t *testing.T) {
	file := fakenode.File{Pools: []fakenode.Pool{{Name: "oslo", Cluster: Hub}, {Name: "porto", Cluster: Hub}}}
	if diff := cmp.Diff([]string{"oslo", "porto"}, file.Apart().Clusters()); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{Hub}, file.Clusters()); diff != "" {
		t.Errorf("the clusters of the file itself changed (-want +got):\n%s", diff)
	}
}

// Members know the gateway by the address at which they reach it, which is not the one at which it listens.
func TestAGatewaysCertificateIsForItsPublicAddress(t *testing.T) {
	lab := newLab(t)
	got, err := lab.gatewayFlags("127.0.0.1:40000", "10.201.0.1:9445")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"gateway-address": "127.0.0.1:40000", "gateway-cert-dir": lab.path("gateway"), "gateway-self-signed": "10.201.0.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if _, err := lab.gatewayFlags("127.0.0.1:40000", "10.201.0.1"); err == nil {
		t.Error("an address without a port: no error")
	}
}
