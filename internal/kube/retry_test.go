// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bourse-dev/bourse/internal/kube"
)

// A claim that fails for an hour, because its mint's issuer froze an account, must not sleep past the escrow's deadline after the thaw.
func TestMoneyIsTriedAgainEveryMinute(t *testing.T) {
	limiter, lease := kube.Money().RateLimiter, reconcile.Request{}
	lease.Name = "train"
	waits := make([]time.Duration, 0, 40)
	for range 40 {
		waits = append(waits, limiter.When(lease))
	}
	if waits[0] != time.Second || waits[39] != time.Minute {
		t.Errorf("first wait %s, last wait %s; want 1s and 1m0s", waits[0], waits[39])
	}
}
