// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/test/builders"
)

var updateRights = flag.Bool("update-rights", false, "rewrite the table of a member's rights")

// everyVerb is what a request to the API server can do, and what the hub's policies ask for.
func everyVerb() []string {
	return []string{
		"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate", "approve", "sign",
		"trade", "manage", // no requests, but rights that policies ask for
	}
}

// What a member that joined may do is what the table says: of every kind and part of a kind that the API server has, with every verb, in its
// own namespace, in another member's, in the market's, in the system's, and in all at once. A kind that is new gives nobody anything
// until the table says so.
func TestTheRightsOfAMemberAreThoseOfTheTable(t *testing.T) {
	l := newJoinLab(t)
	l.readable()
	own := l.must(l.send(join.Join, builders.Wallet("asks"), builders.Wallet("agent")))
	other := l.must(l.send(join.Join, builders.Wallet("is asked about"), builders.Wallet("agent")))
	as := l.as(own)
	l.eventually("it has its rights", func() bool { return allowed(l, as, own.Namespace, "create", "bourse.dev", "computejobs") })
	places := map[string]string{
		"own": own.Namespace, "another member's": other.Namespace, "the market's": "bourse-public", "the system's": "kube-system", "all": "",
	}
	kinds := kindsOf(l)
	var rows []string
	var mu sync.Mutex
	var asking sync.WaitGroup
	slots := make(chan struct{}, 16)
	asked := 0
	for where, namespace := range places {
		for _, kind := range kinds {
			for _, verb := range everyVerb() {
				asked++
				slots <- struct{}{}
				asking.Go(func() {
					defer func() { <-slots }()
					group, resource, _ := strings.Cut(kind, " ")
					if allowed(l, as, namespace, verb, group, resource) {
						mu.Lock()
						defer mu.Unlock()
						rows = append(rows, where+": "+verb+" "+strings.TrimSpace(resource+" "+group))
					}
				})
			}
		}
	}
	asking.Wait()
	slices.Sort(rows)
	t.Logf("%d kinds and parts of kinds, %d questions, %d rights", len(kinds), asked, len(rows))
	golden := filepath.Join("testdata", "member-rights.txt")
	got := strings.Join(rows, "\n") + "\n"
	if *updateRights {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("a member's rights (-table +API server):\n%s", diff)
	}
	l.readsOnly(rows, public(t))
}

// readsOnly holds that outside of its own namespace a member may but read what is public, and that jobs and programs are not.
func (l *joinLab) readsOnly(rows, public []string) {
	l.Helper()
	for _, row := range rows {
		where, right, _ := strings.Cut(row, ": ")
		if where == "own" || strings.Contains(right, "selfsubject") {
			continue
		}
		verb, kind, _ := strings.Cut(right, " ")
		kind, group, _ := strings.Cut(kind, " ")
		if !slices.Contains([]string{"get", "list", "watch"}, verb) || group != "bourse.dev" || !slices.Contains(public, kind) {
			l.Errorf("outside of its own namespace a member may %s", right)
		}
		if slices.Contains([]string{"computejobs", "leaseprograms"}, kind) {
			l.Errorf("a member may %s of others", right)
		}
	}
}

// kindsOf lists every kind and part of a kind that the API server has, by group.
func kindsOf(l *joinLab) []string {
	l.Helper()
	found, err := discovery.NewDiscoveryClientForConfig(apiServer)
	if err != nil {
		l.Fatal(err)
	}
	_, lists, err := found.ServerGroupsAndResources()
	if err != nil {
		l.Fatal(err)
	}
	var kinds []string
	for _, list := range lists {
		group, _, versioned := strings.Cut(list.GroupVersion, "/")
		if !versioned {
			group = ""
		}
		for _, resource := range list.APIResources {
			kinds = append(kinds, group+" "+resource.Name)
		}
	}
	kinds = append(kinds, gatewayParts()...)
	slices.Sort(kinds)
	if kinds = slices.Compact(kinds); len(kinds) < 100 {
		l.Fatalf("the API server has but %d kinds: %v", len(kinds), kinds)
	}
	return kinds
}

// gatewayParts are the parts of kinds that the market's gateway asks about, and that the API server itself does not have.
func gatewayParts() []string {
	return []string{"bourse.dev computejobs/log", "bourse.dev computejobs/proxy", "bourse.dev gpuleases/tunnel"}
}

// allowed asks the API server, as the member, whether it may.
func allowed(l *joinLab, as client.Client, namespace, verb, group, resource string) bool {
	l.Helper()
	resource, part, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: part},
	}}
	if err := as.Create(l.Context(), review); err != nil {
		l.Errorf("ask whether it may %s %s: %v", verb, resource, err)
	}
	return review.Status.Allowed
}
