// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

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
				if _, only := of.Namespaces["member-1"]; !only || len(of.Namespaces) != 1 {
					t.Errorf("%T is read in %v", kind, of.Namespaces)
				}
				counts[strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", kind), "*"), "v1alpha1.")]++
			}
			if len(scoped)-counts["by field"] != tc.kinds || (counts["by field"] == 1) != (len(tc.roles) == 1 && tc.roles.Has(controllers.Supplier)) || counts["GPULease"] != tc.leases || counts["Voucher"] != tc.vouch {
				t.Errorf("in one namespace are read %v", counts)
			}
		})
	}
}
