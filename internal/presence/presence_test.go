// SPDX-License-Identifier: Apache-2.0

package presence

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// bench is a sign for a hub in memory, and what it logs.
type bench struct {
	*Sign

	hub *fakehub.Hub
	log []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{hub: fakehub.New(t, nil)}
	b.Sign = &Sign{
		Client: b.hub, Namespace: builders.Supplier, Role: "supplier", Holder: "manager-0", Now: b.hub.Now,
		Log: funcr.New(func(_, line string) { b.log = append(b.log, line) }, funcr.Options{}),
	}
	return b
}

func (b *bench) lease() *coordinationv1.Lease {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: "bourse-presence-supplier"}}
	b.hub.Read(lease)
	return lease
}

func TestEachSignIsOneWrite(t *testing.T) {
	b := newBench(t)
	b.show(t.Context())
	for range 3 {
		b.hub.Step(mostPause)
		if wrote := b.hub.Writes(func() { b.show(t.Context()) }); len(wrote) != 1 || wrote[0] != "patch bourse-presence-supplier" {
			t.Fatalf("wrote %v, want one patch", wrote)
		}
		if got := b.lease(); !got.Spec.RenewTime.Time.Equal(b.hub.Now()) || *got.Spec.HolderIdentity != "manager-0" || got.Labels[boursev1.LabelPresence] != "supplier" {
			t.Errorf("lease %+v", got)
		}
	}
	if len(b.log) > 0 {
		t.Errorf("logged %v", b.log)
	}
}

func TestAHubThatIsAwayIsToldOfOnce(t *testing.T) {
	b := newBench(t)
	down := errors.New("the hub is down")
	b.hub.Fail(func(string, client.Object) error { return down })
	for range 3 {
		b.show(t.Context())
	}
	b.hub.Fail(nil)
	for range 3 {
		b.show(t.Context())
	}
	if len(b.log) != 2 || !strings.Contains(b.log[0], down.Error()) || !strings.Contains(b.log[1], "again") {
		t.Errorf("logged %q, want that it failed and that it works again", b.log)
	}
	b.lease()
}

// silent is a hub that does not answer.
type silent struct{ client.Client }

func (silent) Patch(ctx context.Context, _ client.Object, _ client.Patch, _ ...client.PatchOption) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAHubThatIsSilentIsToldOfOnce(t *testing.T) {
	b := newBench(t)
	b.Client = silent{b.hub}
	synctest.Test(t, func(t *testing.T) {
		for range 3 {
			b.show(t.Context())
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		b.missed = false
		b.show(stopped)
	})
	if len(b.log) != 1 || !strings.Contains(b.log[0], "deadline exceeded") {
		t.Errorf("logged %q, want that it failed, and nothing when the manager stops", b.log)
	}
}

func TestASignEndsWithItsManager(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Start(ctx) }()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
