// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bourse-dev/bourse/internal/kube"
)

// A claim that fails for an hour, because its mint's issuer froze an account, must not sleep past the escrow's deadline after the thaw; and
// an offer that could not be changed while the hub was away must not stay as it was for long after the hub is back.
func TestWhatFailsForLongIsTriedAgainEveryMinute(t *testing.T) {
	for name, options := range map[string]controller.Options{"money": kube.Money(), "a hub that is away": kube.Hub()} {
		t.Run(name, func(t *testing.T) {
			limiter, request := options.RateLimiter, reconcile.Request{}
			request.Name = "train"
			waits := make([]time.Duration, 0, 40)
			for range 40 {
				waits = append(waits, limiter.When(request))
			}
			if waits[0] != time.Second || waits[39] != time.Minute {
				t.Errorf("first wait %s, last wait %s; want 1s and 1m0s", waits[0], waits[39])
			}
		})
	}
}
