// SPDX-License-Identifier: Apache-2.0

// Package presence says in a hub that a member's manager is there, by a Lease of Kubernetes that it renews. It is told to whoever looks at
// the member, and keeps a member that joined from being forgotten; nothing else is done or left undone because of it.
package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

const (
	// Patience is after how long without a sign a manager was not seen: the time for three of them.
	Patience = 3 * mostPause
	// NamePrefix is how the Leases' names begin, before the role; the hub lets members have no others.
	NamePrefix = "bourse-presence-"
	// leastPause and mostPause are the bounds of the time between two signs, which differs so that members which came back together do not stay
	// together. Each sign costs the hub a write.
	leastPause, mostPause = 50 * time.Second, 60 * time.Second
	// within is how long a sign may take.
	within = 10 * time.Second
)

// Sign is shown by a manager for one of its roles.
type Sign struct {
	Client    client.Client // of the hub; nothing is read by it
	Namespace string        // the member's, in the hub
	Role      string
	Holder    string // which process it is, for people
	Now       func() time.Time
	Log       logr.Logger

	missed bool
}

// Start shows the sign until the context ends. That it could not be shown is no error.
func (s *Sign) Start(ctx context.Context) error {
	for {
		s.show(ctx)
		timer := time.NewTimer(wait.Jitter(leastPause, float64(mostPause-leastPause)/float64(leastPause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// show renews the Lease, and tells once when that begins to fail and when it works again.
func (s *Sign) show(ctx context.Context) {
	soon, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch err := s.renew(soon); {
	case err != nil && !s.missed && ctx.Err() == nil:
		s.missed = true
		s.Log.Error(err, "Could not say in the hub that the manager is there", "role", s.Role)
	case err == nil && s.missed:
		s.missed = false
		s.Log.Info("Said in the hub that the manager is there again", "role", s.Role)
	}
}

// renew writes the time into the Lease, and makes it if it is not there. It reads nothing, which costs the hub half. Nor does it let the hub keep
// a record of who has written which field, which one empty entry says: nobody else writes the Lease.
func (s *Sign) renew(ctx context.Context) error {
	bare := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: NamePrefix + s.Role}}
	lease := bare.DeepCopy()
	lease.Labels = map[string]string{boursev1.LabelPresence: s.Role}
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &s.Holder, LeaseDurationSeconds: new(int32(Patience / time.Second)), RenewTime: &metav1.MicroTime{Time: s.Now()},
	}
	made := lease.DeepCopy()
	lease.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	err := s.Client.Patch(ctx, lease, client.MergeFrom(bare))
	if apierrors.IsNotFound(err) {
		err = client.IgnoreAlreadyExists(s.Client.Create(ctx, made))
	}
	if err != nil {
		return fmt.Errorf("renew Lease: %w", err)
	}
	return nil
}
