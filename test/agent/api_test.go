// SPDX-License-Identifier: Apache-2.0

// Package agent runs the real binary of the node's agent against a driver library, a kubelet and an API server that are made for the test,
// and measures what it takes of the machine.
package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// fakeAPI stands for an API server, as far as an agent speaks to it: objects by path, merge patches with a lock, and nothing else. What it
// has in common with the real one, test/integration checks with the same agent.
type fakeAPI struct {
	mu       sync.Mutex
	objects  map[string]map[string]any
	version  int
	requests map[string]int // by method and last part of the path
	down     bool
	server   *httptest.Server
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	api := &fakeAPI{objects: map[string]map[string]any{}, requests: map[string]int{}}
	api.server = httptest.NewServer(api)
	t.Cleanup(api.server.Close)
	return api
}

// kubeconfig writes a file with access to it.
func (f *fakeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],
"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, f.server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, isStatus := strings.CutSuffix(r.URL.Path, "/status")
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	kind := parts[len(parts)-1]
	if kind != "gpunodes" && kind != "leases" {
		kind = parts[len(parts)-2]
	}
	f.requests[r.Method+" "+kind]++
	if f.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var body map[string]any
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
	}
	switch r.Method {
	case http.MethodPost:
		path += "/" + body["metadata"].(map[string]any)["name"].(string)
		if f.objects[path] != nil {
			refuse(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
			return
		}
		delete(body, "status")
		f.objects[path] = f.stamped(body)
	case http.MethodPatch:
		object := f.objects[path]
		if object == nil {
			refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		if wanted, ok := body["metadata"].(map[string]any)["resourceVersion"].(string); ok && wanted != object["metadata"].(map[string]any)["resourceVersion"] {
			refuse(w, http.StatusConflict, metav1.StatusReasonConflict)
			return
		}
		if isStatus {
			body = map[string]any{"status": body["status"]}
		}
		f.objects[path] = f.stamped(merge(object, body).(map[string]any))
	}
	if f.objects[path] == nil {
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(f.objects[path]) // a client that has gone away hears nothing
}

func (f *fakeAPI) stamped(object map[string]any) map[string]any {
	f.version++
	object["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(f.version)
	return object
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{ // a client that has gone away hears nothing
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code), Message: string(reason),
	})
}

// merge is a JSON merge patch.
func merge(object, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := map[string]any{}
	if old, ok := object.(map[string]any); ok {
		maps.Copy(merged, old)
	}
	for key, value := range changes {
		if value == nil {
			delete(merged, key)
		} else {
			merged[key] = merge(merged[key], value)
		}
	}
	return merged
}

// node is the GPUNode as it is now, nil if there is none, and whatever a change makes of it.
func (f *fakeAPI) node(t *testing.T, name string, change ...func(metadata map[string]any)) *boursev1.GPUNode {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	object := f.objects["/apis/bourse.dev/v1alpha1/gpunodes/"+name]
	if object == nil {
		return nil
	}
	for _, do := range change {
		do(object["metadata"].(map[string]any))
		f.stamped(object)
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	node := &boursev1.GPUNode{}
	if err := json.Unmarshal(text, node); err != nil {
		t.Fatal(err)
	}
	return node
}

// count returns how many requests of a kind came.
func (f *fakeAPI) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[what]
}

func (f *fakeAPI) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}
