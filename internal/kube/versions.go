// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// shownWithin is how long a cache is given to show a write. After that a pass is made on what it shows, as if nothing was written: the object
// may be gone, or the API server may be one that was set back.
const shownWithin = 10 * time.Second

// Versions knows the newest versions of objects that a controller wrote, until its cache shows them. A pass on an older one would repeat what
// is done, only to have it refused; the event of the newer one brings the object back.
type Versions struct {
	mu     sync.Mutex
	newest map[types.UID]version
}

type version struct {
	resource string
	at       time.Time
}

// Wrote remembers the version that a write gave the object.
func (v *Versions) Wrote(obj client.Object, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.newest == nil {
		v.newest = map[types.UID]version{}
	}
	for uid, older := range v.newest {
		if now.Sub(older.at) > shownWithin {
			delete(v.newest, uid)
		}
	}
	v.newest[obj.GetUID()] = version{resource: obj.GetResourceVersion(), at: now}
}

// Outdated says whether a newer version of the object was written than this one. Versions that cannot be compared are not older.
func (v *Versions) Outdated(obj client.Object, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	newest, ok := v.newest[obj.GetUID()]
	if !ok {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(obj.GetResourceVersion(), newest.resource)
	if err == nil && order < 0 && now.Sub(newest.at) <= shownWithin {
		return true
	}
	delete(v.newest, obj.GetUID())
	return false
}
