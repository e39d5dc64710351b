// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// NewPatientInformer makes an informer whose watches last for as long as the API server lets them by itself, which is half an hour to an hour.
// Client-go asks for five to ten minutes, and each new watch costs a hub about as much as a write, for every kind and member. A link
// that is silently broken is noticed on the connection, within a minute, and not by the end of a watch.
func NewPatientInformer(from cache.ListerWatcher, of runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
	all := cache.ToListerWatcherWithContext(from)
	patient := &cache.ListWatch{
		ListWithContextFunc: all.ListWithContext,
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.TimeoutSeconds = nil
			return all.WatchWithContext(ctx, options)
		},
	}
	return cache.NewSharedIndexInformer(patient, of, resync, indexers)
}
