// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// The server decides how long a watch lasts, and the informer opens another one when it has ended.
func TestAPatientInformersWatchesNameNoTime(t *testing.T) {
	asked := make(chan metav1.ListOptions)
	from := &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &boursev1.MemberList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			select {
			case asked <- options:
			case <-ctx.Done():
			}
			ended := watch.NewFake()
			ended.Stop()
			return ended, nil
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	informer := NewPatientInformer(from, &boursev1.Member{}, 0, cache.Indexers{})
	go func() {
		defer close(ended)
		informer.RunWithContext(ctx)
	}()
	for range 2 {
		select {
		case options := <-asked:
			if options.TimeoutSeconds != nil || !options.AllowWatchBookmarks {
				t.Errorf("asked for %+v, want bookmarks and no time", options)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing was watched")
		}
	}
	stop()
	<-ended
}
