// SPDX-License-Identifier: Apache-2.0

package wallet_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/wallet"
)

const namespace = "bourse-system"

var errDown = errors.New("the API server is down")

func TestAPauseHoldsWhileItsConfigMapExists(t *testing.T) {
	cluster := fake.NewClientBuilder().Build()
	pause := &wallet.Switch{Client: cluster, Namespace: namespace}
	if _, paused, err := pause.Paused(t.Context()); paused || err != nil {
		t.Fatalf("paused %v, %v; want neither", paused, err)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: wallet.PauseName}}
	if err := cluster.Create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	undo, paused, err := pause.Paused(t.Context())
	if !paused || err != nil || undo != "delete the ConfigMap bourse-system/bourse-pause" {
		t.Errorf("paused %v, %q, %v", paused, undo, err)
	}
	if err := cluster.Delete(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, paused, err := pause.Paused(t.Context()); paused || err != nil {
		t.Errorf("paused %v, %v after the ConfigMap is gone", paused, err)
	}
}

func TestNobodyKnowsWhetherItIsPausedWhenTheAPIServerIsDown(t *testing.T) {
	down := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errDown
		},
	}).Build()
	if _, _, err := (&wallet.Switch{Client: down, Namespace: namespace}).Paused(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("got %v, want %v", err, errDown)
	}
	if _, err := (&wallet.Store{Client: down, Namespace: namespace, Role: "buyer"}).Load(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("got %v, want %v", err, errDown)
	}
}

func TestSpendingIsKept(t *testing.T) {
	cluster := fake.NewClientBuilder().Build()
	store := &wallet.Store{Client: cluster, Namespace: namespace, Role: "buyer"}
	first, err := store.Load(t.Context())
	if err != nil || first.Version != "" {
		t.Fatalf("%+v, %v; want nothing", first, err)
	}
	want := signer.Spending{Day: "2027-03-01", Lamports: 5_000, Tokens: map[string]money.Amount{"mint": 1 << 63}, Once: []string{"a"}}
	if err := store.Save(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), want); !errors.Is(err, signer.ErrConflict) {
		t.Errorf("a second beginning: %v, want %v", err, signer.ErrConflict)
	}
	got, err := (&wallet.Store{Client: cluster, Namespace: namespace, Role: "buyer"}).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(signer.Spending{}, "Version")); diff != "" {
		t.Errorf("spending (-want +got):\n%s", diff)
	}
	if err := store.Save(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), got); !errors.Is(err, signer.ErrConflict) {
		t.Errorf("a stale version: %v, want %v", err, signer.ErrConflict)
	}
	other, err := (&wallet.Store{Client: cluster, Namespace: namespace, Role: "supplier"}).Load(t.Context())
	if err != nil || other.Day != "" {
		t.Errorf("the other role's wallet: %+v, %v; want nothing", other, err)
	}
}

// A record that was deleted is begun anew; one that cannot be read stops the wallet and says what to do.
func TestARecordThatIsGoneOrGarbage(t *testing.T) {
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bourse-spending-buyer"}, Data: map[string]string{"spending.json": "{"},
	}
	cluster := fake.NewClientBuilder().WithObjects(config).Build()
	store := &wallet.Store{Client: cluster, Namespace: namespace, Role: "buyer"}
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
	if err := cluster.Delete(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(t.Context(), signer.Spending{Day: "2027-03-01", Version: "1"}); !errors.Is(err, signer.ErrConflict) {
		t.Errorf("got %v, want %v", err, signer.ErrConflict)
	}
}
