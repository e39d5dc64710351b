// SPDX-License-Identifier: Apache-2.0

// Package apiserver is an API server in memory for simulations: typed objects with versions, locked writes and conflicts, watches that
// lag behind, and backups that can be restored. It is far quicker than one that speaks JSON, and it validates and defaults nothing:
// the integration tests do that on a real one. The conformance suite beside it holds it and the usual fake to one behaviour.
package apiserver

import (
	"maps"
	"reflect"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Key names an object.
type Key struct {
	Kind reflect.Type
	types.NamespacedName
}

// KeyOf returns the key of an object.
func KeyOf(obj client.Object) Key {
	return Key{Kind: reflect.TypeOf(obj), NamespacedName: client.ObjectKeyFromObject(obj)}
}

// change is one write as watches see it.
type change struct {
	key Key
	obj client.Object // nil when it was deleted
}

// Server holds the objects. What it holds is never changed in place, so views may share it. It is not safe for concurrent use.
type Server struct {
	now     func() time.Time
	objects map[Key]client.Object
	log     []change
	version uint64
	uids    uint64
	indexes map[string]client.IndexerFunc
}

// New returns an empty server.
func New(now func() time.Time) *Server {
	return &Server{now: now, objects: map[Key]client.Object{}, indexes: map[string]client.IndexerFunc{}}
}

// Index adds a field that lists can be narrowed by.
func (s *Server) Index(field string, values client.IndexerFunc) { s.indexes[field] = values }

// Backup returns what the server holds now.
func (s *Server) Backup() map[Key]client.Object { return maps.Clone(s.objects) }

// Restore puts a backup in the place of what the server holds, except for the kinds that are kept elsewhere, as when one etcd of
// several is restored with its revision bumped. Every view is of no more use.
func (s *Server) Restore(backup map[Key]client.Object, elsewhere func(Key) bool) {
	next := map[Key]client.Object{}
	maps.Copy(next, backup)
	maps.DeleteFunc(next, func(key Key, _ client.Object) bool { return elsewhere(key) })
	for key, obj := range s.objects {
		if elsewhere(key) {
			next[key] = obj
		}
	}
	s.objects, s.log = next, nil
}

// put stores a copy of the object under a new version and returns it.
func (s *Server) put(key Key, obj client.Object) client.Object {
	s.version++
	stored := copyOf(obj)
	stored.SetResourceVersion(strconv.FormatUint(s.version, 10))
	s.objects[key] = stored
	s.log = append(s.log, change{key: key, obj: stored})
	return stored
}

func (s *Server) remove(key Key) {
	s.version++
	delete(s.objects, key)
	s.log = append(s.log, change{key: key})
}

// create stores a new object, as whoever asks for it.
func (s *Server) create(obj client.Object) client.Object {
	s.uids++
	next := copyOf(obj)
	next.SetGeneration(1)
	if next.GetUID() == "" {
		next.SetUID(types.UID("uid-" + strconv.FormatUint(s.uids, 10)))
	}
	if stamp := next.GetCreationTimestamp(); stamp.IsZero() {
		next.SetCreationTimestamp(metav1.NewTime(s.now().Truncate(time.Second)))
	}
	return s.put(KeyOf(obj), next)
}

func copyOf(obj client.Object) client.Object {
	return obj.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy has the type of its original
}
