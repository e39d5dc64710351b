// SPDX-License-Identifier: Apache-2.0

// Package wallet keeps in the manager's own cluster what the policy of a wallet must know across restarts and replicas: what was signed
// for today, and whether an administrator has paused it. Both are ConfigMaps in the manager's own namespace, which no hub can reach.
// It decides nothing.
package wallet

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/signer"
)

const (
	// PauseName is the ConfigMap that pauses every wallet of the managers in its namespace while it exists.
	PauseName = "bourse-pause"
	// spendingPrefix begins the names of the ConfigMaps with what was spent.
	spendingPrefix = "bourse-spending-"
	// spendingKey is the entry of such a ConfigMap.
	spendingKey = "spending.json"
)

// Switch is a signer.Switch: the wallet is paused while the ConfigMap exists.
type Switch struct {
	Client    client.Reader // of the manager's own cluster, and not cached: a pause holds at once
	Namespace string
}

// Paused says whether the ConfigMap exists.
func (s *Switch) Paused(ctx context.Context) (string, bool, error) {
	var found corev1.ConfigMap
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: PauseName}, &found)
	if apierrors.IsNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("get ConfigMap %s/%s: %w", s.Namespace, PauseName, err)
	}
	return fmt.Sprintf("delete the ConfigMap %s/%s", s.Namespace, PauseName), true, nil
}

// Store is a signer.Store: one ConfigMap for each wallet. The API server's lock on it lets replicas share one cap.
type Store struct {
	Client    client.Client // of the manager's own cluster, and not cached
	Namespace string
	Role      string // whose wallet it is: the same ConfigMap after a change of keys
}

// Name is that of the ConfigMap.
func (s *Store) Name() string { return spendingPrefix + s.Role }

// Load reads what was spent.
func (s *Store) Load(ctx context.Context) (signer.Spending, error) {
	var found corev1.ConfigMap
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name()}, &found)
	if apierrors.IsNotFound(err) {
		return signer.Spending{}, nil
	}
	if err != nil {
		return signer.Spending{}, fmt.Errorf("get ConfigMap %s/%s: %w", s.Namespace, s.Name(), err)
	}
	spending := signer.Spending{}
	if text, written := found.Data[spendingKey]; written {
		if err := json.Unmarshal([]byte(text), &spending); err != nil {
			return signer.Spending{}, fmt.Errorf("read ConfigMap %s/%s: %w: mend it, or delete it to begin the day anew", s.Namespace, s.Name(), err)
		}
	}
	spending.Version = found.ResourceVersion
	return spending, nil
}

// Save writes what was spent, unless somebody else has written since.
func (s *Store) Save(ctx context.Context, spending signer.Spending) error {
	text, err := json.Marshal(spending)
	if err != nil {
		return fmt.Errorf("encode spending: %w", err)
	}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name(), ResourceVersion: spending.Version},
		Data:       map[string]string{spendingKey: string(text)},
	}
	if spending.Version == "" {
		err = s.Client.Create(ctx, config)
	} else {
		err = s.Client.Update(ctx, config)
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) && spending.Version != "":
		return signer.ErrConflict
	default:
		return fmt.Errorf("write ConfigMap %s/%s: %w", s.Namespace, s.Name(), err)
	}
}
