// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/signer"
)

func TestASelfSignedCertificateIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	o := joinOptions{url: "https://join.example:9444", certificates: dir}
	if err := o.makeCertificate(); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("a certificate was made that nobody asked for: %v, %v", files, err)
	}
	o.selfSigned = true
	var before []byte
	for range 2 {
		if err := o.makeCertificate(); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
		if err != nil {
			t.Fatal(err)
		}
		if err := pair.Leaf.VerifyHostname("join.example"); err != nil {
			t.Error(err)
		}
		if before != nil && string(before) != string(pair.Certificate[0]) {
			t.Error("a certificate that was there was replaced")
		}
		before = pair.Certificate[0]
	}
}

func TestMembersAreToldWhereTheHubIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: "https://10.0.0.1", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ours")}}
	cases := map[string]struct {
		options        joinOptions
		server, caData string
	}{
		"as the manager reaches it": {joinOptions{}, "https://10.0.0.1", "ours"},
		"as members do":             {joinOptions{hubURL: "https://hub.example", hubCA: path}, "https://hub.example", "theirs"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server, caData, err := tc.options.hubAccess(config)
			if err != nil || server != tc.server || string(caData) != tc.caData {
				t.Errorf("got %s, %s, %v", server, caData, err)
			}
		})
	}
}

func TestAManagerThatJoinedHasOneWallet(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.json"), filepath.Join(dir, "two.json")
	first, err := signer.NewFile(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.NewFile(two); err != nil {
		t.Fatal(err)
	}
	o := options{roles: controllers.Roles{controllers.Supplier, controllers.Buyer}}
	o.supplierWallet = walletOptions{role: controllers.Supplier, keypair: one}
	o.buyerWallet = walletOptions{role: controllers.Buyer, keypair: one}
	if got, err := o.memberWallet(); err != nil || got != first.PublicKey() {
		t.Errorf("got %s, %v", got, err)
	}
	o.buyerWallet.keypair = two
	if _, err := o.memberWallet(); err == nil || !strings.Contains(err.Error(), "two members") {
		t.Errorf("two wallets: %v", err)
	}
	o.roles = controllers.Roles{controllers.Supplier}
	if got, err := o.memberWallet(); err != nil || got != first.PublicKey() {
		t.Errorf("one role of two: %s, %v", got, err)
	}
}

// A hub has the heartbeats of kubelets by the thousand; a market wants those of its members' managers.
func TestAMarketReadsNoOtherLeasesThanThoseOfItsMembers(t *testing.T) {
	leaseOf := func(objects map[client.Object]cache.ByObject) cache.ByObject {
		for kind, of := range objects {
			if _, lease := kind.(*coordinationv1.Lease); lease {
				return of
			}
		}
		t.Fatal("all are read")
		return cache.ByObject{}
	}
	market, supplier := options{roles: controllers.Roles{controllers.Market}}, options{roles: controllers.Roles{controllers.Supplier}}
	kubelets, member := labels.Set{}, labels.Set{boursev1.LabelPresence: "supplier"}
	own := leaseOf(managerOptions(market, nil, "bourse-system").Cache.ByObject).Namespaces
	if selector := own[cache.AllNamespaces].LabelSelector; len(own) != 2 || selector.Matches(kubelets) || !selector.Matches(member) {
		t.Errorf("a market reads %v", own)
	}
	if selector := leaseOf(ownOnly(market)).Label; selector.Matches(kubelets) || !selector.Matches(member) {
		t.Errorf("a market in another cluster reads %v", selector)
	}
	if own := leaseOf(managerOptions(supplier, nil, "bourse-system").Cache.ByObject).Namespaces; len(own) != 1 {
		t.Errorf("a supplier reads %v", own)
	}
}

func TestAMembersManagerReadsItsOwnNamespace(t *testing.T) {
	const all, own = 0, 1
	cases := map[string]struct {
		roles                controllers.Roles
		joined               bool
		kinds, leases, vouch int // how many kinds are read in one namespace, and whether these are
	}{
		"a supplier":               {controllers.Roles{controllers.Supplier}, true, 5, own, all},
		"a supplier by kubeconfig": {controllers.Roles{controllers.Supplier}, false, 5, own, all},
		"a buyer":                  {controllers.Roles{controllers.Buyer}, true, 5, all, own},
		"a buyer by kubeconfig":    {controllers.Roles{controllers.Buyer}, false, 5, all, own},
		"a market elsewhere":       {controllers.Roles{controllers.Market, controllers.Buyer}, false, 0, all, all},
		"both":                     {controllers.Roles{controllers.Supplier, controllers.Buyer}, true, 4, all, all},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options{roles: tc.roles, memberNamespace: "member-1"}
			if tc.joined {
				o.hubJoin.url = "https://join.example"
			}
			scoped := ownOnly(o)
			counts := map[string]int{}
			for kind, of := range scoped {
				if of.Field != nil { // from anywhere, but only for its own leases
					if _, vouchers := kind.(*boursev1.Voucher); !vouchers || of.Field.String() != "spec.lease.namespace=member-1" || len(of.Namespaces) > 0 {
						t.Errorf("%T is read where %s in %v", kind, of.Field, of.Namespaces)
					}
					counts["by field"]++
					continue
				}
				if of.Label != nil { // the signs of members' managers, which another test is about
					counts["by label"]++
					continue
				}
				if _, only := of.Namespaces["member-1"]; !only || len(of.Namespaces) != 1 {
					t.Errorf("%T is read in %v", kind, of.Namespaces)
				}
				counts[strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", kind), "*"), "v1alpha1.")]++
			}
			if len(scoped)-counts["by field"]-counts["by label"] != tc.kinds || (counts["by label"] == 1) != tc.roles.Has(controllers.Market) || (counts["by field"] == 1) != (len(tc.roles) == 1 && tc.roles.Has(controllers.Supplier)) || counts["GPULease"] != tc.leases || counts["Voucher"] != tc.vouch {
				t.Errorf("in one namespace are read %v", counts)
			}
		})
	}
}
