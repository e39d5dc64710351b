// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// What fails is tried again after a second, then after twice as long each time, but at least once a minute: an escrow's deadline
// does not wait for the sixteen minutes that a controller's queue grows to by default.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Money returns the options of a controller that moves money.
func Money() controller.Options { return options() }

// Hub returns the options of a controller that writes to a hub from another cluster. The hub may be away for hours, in which nothing else
// wakes the controller; what it has to say then must not wait for long after the hub is back.
func Hub() controller.Options { return options() }

func options() controller.Options {
	return controller.Options{
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
	}
}
