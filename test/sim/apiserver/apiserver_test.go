// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const finalizer = "bourse.dev/test"

// behaviours are what controllers rely on. Each must hold for this server and for the usual fake alike.
func behaviours() map[string]func(t *testing.T, c client.Client) {
	return map[string]func(t *testing.T, c client.Client){
		"what is created can be read, once": func(t *testing.T, c client.Client) {
			t.Helper()
			_, lease := builders.Leased(t, "a")
			must(t, c.Create(t.Context(), lease))
			if lease.ResourceVersion == "" {
				t.Error("no version")
			}
			_, again := builders.Leased(t, "a")
			if err := c.Create(t.Context(), again); !apierrors.IsAlreadyExists(err) {
				t.Errorf("a second time: %v", err)
			}
			if diff := cmp.Diff(lease.Spec, get(t, c, lease).Spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		},
		"a locked patch of something old is a conflict": func(t *testing.T, c client.Client) {
			t.Helper()
			lease := made(t, c)
			old := lease.DeepCopy()
			patchStatus(t, c, lease, 5)
			patched := old.DeepCopy()
			patched.Status.Paid = new(int64(7))
			patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
			if err := c.Status().Patch(t.Context(), patched, patch); !apierrors.IsConflict(err) {
				t.Errorf("err = %v, want a conflict", err)
			}
			if got := *get(t, c, lease).Status.Paid; got != 5 {
				t.Errorf("paid %d", got)
			}
		},
		"a status is not written by a patch of the rest, nor the other way round": func(t *testing.T, c client.Client) {
			t.Helper()
			lease := made(t, c)
			base := lease.DeepCopy()
			lease.Status.Paid, lease.Labels = new(int64(9)), map[string]string{"a": "b"}
			must(t, c.Patch(t.Context(), lease, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})))
			if found := get(t, c, lease); found.Status.Paid != nil || found.Labels["a"] != "b" {
				t.Errorf("status %+v, labels %v", found.Status, found.Labels)
			}
			lease = get(t, c, lease)
			base = lease.DeepCopy()
			lease.Spec.Model, lease.Status.Paid = "t4", new(int64(9))
			must(t, c.Status().Patch(t.Context(), lease, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})))
			if found := get(t, c, lease); *found.Status.Paid != 9 || found.Spec.Model == "t4" {
				t.Errorf("status %+v, model %s", found.Status, found.Spec.Model)
			}
		},
		"a finalizer holds what is deleted": func(t *testing.T, c client.Client) {
			t.Helper()
			_, lease := builders.Leased(t, "a")
			lease.Finalizers = []string{finalizer}
			must(t, c.Create(t.Context(), lease))
			must(t, c.Delete(t.Context(), lease))
			found := get(t, c, lease)
			if found.DeletionTimestamp.IsZero() {
				t.Fatal("it is not being deleted")
			}
			base := found.DeepCopy()
			found.Finalizers = nil
			must(t, c.Patch(t.Context(), found, client.MergeFrom(base)))
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(lease), found); !apierrors.IsNotFound(err) {
				t.Errorf("err = %v, want it gone", err)
			}
			if err := c.Delete(t.Context(), lease); !apierrors.IsNotFound(err) {
				t.Errorf("deleted again: %v", err)
			}
		},
		"lists are narrowed by namespace and labels": func(t *testing.T, c client.Client) {
			t.Helper()
			for _, name := range []string{"b", "a"} {
				_, lease := builders.Leased(t, name)
				lease.Labels = map[string]string{"name": name}
				must(t, c.Create(t.Context(), lease))
			}
			for narrowed, want := range map[client.ListOption]int{
				client.InNamespace(builders.Supplier): 2, client.InNamespace("nowhere"): 0,
			} {
				var list boursev1.GPULeaseList
				must(t, c.List(t.Context(), &list, narrowed))
				if len(list.Items) != want {
					t.Errorf("%v: %d items, want %d", narrowed, len(list.Items), want)
				}
			}
			var list boursev1.GPULeaseList
			must(t, c.List(t.Context(), &list, client.MatchingLabels{"name": "a"}))
			if len(list.Items) != 1 || list.Items[0].Labels["name"] != "a" {
				t.Errorf("items %+v", list.Items)
			}
		},
	}
}

func TestConformance(t *testing.T) {
	servers := map[string]func(*testing.T) client.Client{
		"this server":    func(*testing.T) client.Client { return New(func() time.Time { return builders.Start }).Live() },
		"the usual fake": func(t *testing.T) client.Client { t.Helper(); return fakehub.New(t, nil) },
	}
	for name, server := range servers {
		for behaviour, check := range behaviours() {
			t.Run(name+"/"+behaviour, func(t *testing.T) { check(t, server(t)) })
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func made(t *testing.T, c client.Client) *boursev1.GPULease {
	t.Helper()
	_, lease := builders.Leased(t, "a")
	must(t, c.Create(t.Context(), lease))
	return get(t, c, lease)
}

func get(t *testing.T, c client.Client, lease *boursev1.GPULease) *boursev1.GPULease {
	t.Helper()
	found := &boursev1.GPULease{}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(lease), found))
	return found
}

func patchStatus(t *testing.T, c client.Client, lease *boursev1.GPULease, paid int64) {
	t.Helper()
	base := lease.DeepCopy()
	lease.Status.Paid = &paid
	must(t, c.Status().Patch(t.Context(), lease, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})))
}

// A view sees nothing before it catches up, its own writes included.
func TestAViewLagsBehind(t *testing.T) {
	server := New(func() time.Time { return builders.Start })
	c := server.NewClient(func(_ string, _ client.Object, write func() error) error { return write() })
	_, lease := builders.Leased(t, "a")
	must(t, c.Create(t.Context(), lease))
	key := client.ObjectKeyFromObject(lease)
	if err := c.Get(t.Context(), key, &boursev1.GPULease{}); !apierrors.IsNotFound(err) || c.Behind() != 1 {
		t.Errorf("err = %v, %d behind", err, c.Behind())
	}
	must(t, c.Live().Get(t.Context(), key, &boursev1.GPULease{}))
	seen := 0
	c.CatchUp(5, func(client.Object) { seen++ })
	must(t, c.Get(t.Context(), key, &boursev1.GPULease{}))
	must(t, c.Delete(t.Context(), lease))
	c.CatchUp(5, func(client.Object) { seen++ })
	if err := c.Get(t.Context(), key, &boursev1.GPULease{}); !apierrors.IsNotFound(err) || seen != 2 {
		t.Errorf("err = %v, saw %d changes", err, seen)
	}
}

// A backup brings back what it holds, and leaves alone what is kept elsewhere. Versions do not go back.
func TestABackupIsRestored(t *testing.T) {
	server := New(func() time.Time { return builders.Start })
	c := server.Live()
	lease := made(t, c)
	backup := server.Backup()
	patchStatus(t, c, lease, 5)
	market := builders.Market()
	must(t, c.Create(t.Context(), market))
	server.Restore(backup, func(key Key) bool { return key.Name == market.Name })
	found := get(t, c, lease)
	if found.Status.Paid != nil {
		t.Errorf("status %+v", found.Status)
	}
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(market), &boursev1.Market{}))
	patchStatus(t, c, found, 6)
	if found.ResourceVersion == lease.ResourceVersion || found.ResourceVersion < lease.ResourceVersion {
		t.Errorf("version %s after %s", found.ResourceVersion, lease.ResourceVersion)
	}
	if at := metav1.NewTime(builders.Start); !found.CreationTimestamp.Equal(&at) {
		t.Errorf("created %s", found.CreationTimestamp)
	}
}
