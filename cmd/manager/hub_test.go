// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/bourse-dev/bourse/internal/join"
)

func TestReasonsToWaitAreTold(t *testing.T) {
	cases := map[string]struct {
		err  error
		want string
	}{
		"nobody answers":           {errors.New("dial tcp: connection refused"), "away"},
		"nothing comes back":       {fmt.Errorf("ask hub: %w", context.DeadlineExceeded), "away"},
		"too many ask":             {fmt.Errorf("get a token: %w", join.Refuse(join.Busy, "Come back")), "away"},
		"the member is not known":  {fmt.Errorf("get a token: %w", join.Refuse(join.NotMember, "Join")), "NotMember"},
		"the member is suspended":  {join.Refuse(join.Suspended, "Talk to the admin"), "Suspended"},
		"the hub has not our CRDs": {fmt.Errorf("%w: the hub has no ComputeJob", errNoKind), "a kind is missing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := trouble(tc.err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// kindServer answers what a farHub asks: nothing good until it is well.
type kindServer struct {
	well  atomic.Bool
	asked atomic.Int32
}

func (s *kindServer) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	s.asked.Add(1)
	if !s.well.Load() {
		writer.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	switch request.URL.Path {
	case "/apis/bourse.dev/v1alpha1":
		var kinds []string
		for _, kind := range []string{"ComputeJob", "GPULease", "GPUOffer", "LeaseProgram", "Member", "StakePosition", "Voucher"} {
			kinds = append(kinds, fmt.Sprintf(`{"name":"%ss","namespaced":true,"kind":"%s","verbs":["get"]}`, strings.ToLower(kind), kind))
		}
		fmt.Fprintf(writer, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"bourse.dev/v1alpha1","resources":[%s]}`, strings.Join(kinds, ","))
	case "/apis":
		fmt.Fprint(writer, `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"bourse.dev",`+
			`"versions":[{"groupVersion":"bourse.dev/v1alpha1","version":"v1alpha1"}],`+
			`"preferredVersion":{"groupVersion":"bourse.dev/v1alpha1","version":"v1alpha1"}}]}`)
	default:
		fmt.Fprint(writer, `{"kind":"APIVersions","versions":["v1"]}`)
	}
}

func TestAHubThatIsAwayIsWaitedFor(t *testing.T) {
	cases := map[string]error{ // what ends the manager
		"until it answers": nil,
		"but not when its controllers cannot be made": errors.New("two controllers of one name"),
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			scheme, err := newScheme()
			if err != nil {
				t.Fatal(err)
			}
			server := &kindServer{}
			at := httptest.NewServer(server)
			defer at.Close()
			var log strings.Builder
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			h := &farHub{
				options: options{memberNamespace: "member-1"}, scheme: scheme, config: &rest.Config{Host: at.URL},
				log: funcr.New(func(prefix, args string) { fmt.Fprintln(&log, prefix, args) }, funcr.Options{}),
			}
			began := 0
			h.begin = func(_ context.Context, hub cluster.Cluster, namespace string) error {
				began++
				if namespace != "member-1" || hub.GetConfig().Host != at.URL {
					t.Errorf("began in %s of %s", namespace, hub.GetConfig().Host)
				}
				if want == nil {
					stop() // this test has no manager to add the hub to
					return context.Cause(ctx)
				}
				return want
			}
			go func() {
				for server.asked.Load() < 2 { // it has tried in vain, and tries again
					time.Sleep(10 * time.Millisecond)
				}
				server.well.Store(true)
			}()
			if err := h.Start(ctx); !errors.Is(err, want) {
				t.Errorf("ended with %v, want %v", err, want)
			}
			if began != 1 {
				t.Errorf("began %d times", began)
			}
			if said := strings.Count(log.String(), "Did not reach the hub"); said != 1 {
				t.Errorf("said %d times:\n%s", said, log.String())
			}
			if h.filled(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody)) == nil {
				t.Error("it was ready without a hub")
			}
		})
	}
}
