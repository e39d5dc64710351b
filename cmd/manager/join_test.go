// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestAMembersManagerReadsWhatItIsAPartyOf(t *testing.T) {
	const own, promised, rented = "member-1", "all where spec.lease.namespace=member-1", "all where spec.job.namespace=member-1"
	scoped := func(leases, vouchers string) map[string]string {
		return map[string]string{
			"ComputeJob": own, "GPUOffer": own, "LeaseProgram": own, "Member": own, "StakePosition": own, "GPULease": leases, "Voucher": vouchers,
		}
	}
	supplier, buyer := controllers.Supplier, controllers.Buyer
	cases := map[string]struct {
		roles  controllers.Roles
		joined bool
		want   map[string]string
	}{
		"a supplier":               {controllers.Roles{supplier}, true, scoped(own, promised)},
		"a supplier by kubeconfig": {controllers.Roles{supplier}, false, scoped(own, promised)},
		"a buyer":                  {controllers.Roles{buyer}, true, scoped(rented, own)},
		"a buyer by kubeconfig":    {controllers.Roles{buyer}, false, scoped(rented, own)},
		"both":                     {controllers.Roles{supplier, buyer}, true, scoped(rented+", "+own, promised+", "+own)},
		"a market elsewhere":       {controllers.Roles{controllers.Market, supplier, buyer}, false, map[string]string{"*v1.Lease": "all where bourse.dev/presence"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := options{roles: tc.roles, memberNamespace: own}
			if tc.joined {
				o.hubJoin.url = "https://join.example"
			}
			got := map[string]string{}
			for kind, of := range ownOnly(o) {
				got[strings.TrimPrefix(fmt.Sprintf("%T", kind), "*v1alpha1.")] = where(of)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("what is read (-want +got):\n%s", diff)
			}
		})
	}
}

// where says which namespaces a kind is read in, and which objects there.
func where(of cache.ByObject) string {
	if of.Label != nil {
		return "all where " + of.Label.String()
	}
	places := make([]string, 0, len(of.Namespaces))
	for namespace, config := range of.Namespaces {
		place := namespace
		if namespace == cache.AllNamespaces {
			place = "all"
		}
		if config.FieldSelector != nil {
			place += " where " + config.FieldSelector.String()
		}
		places = append(places, place)
	}
	slices.Sort(places)
	return strings.Join(places, ", ")
}
