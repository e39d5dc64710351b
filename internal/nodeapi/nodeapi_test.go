// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// request is what a server was asked.
type request struct {
	Method, Path, Type, Authorization string
	Body                              map[string]any
}

// answers is a server by TLS that gives the answers one after the other, and tells what it was asked.
func answers(t *testing.T, list ...func(http.ResponseWriter)) (*httptest.Server, *[]request) {
	t.Helper()
	var asked []request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := request{Method: r.Method, Path: r.URL.Path, Type: r.Header.Get("Content-Type"), Authorization: r.Header.Get("Authorization")}
		_ = json.NewDecoder(r.Body).Decode(&got.Body) // many have none
		asked = append(asked, got)
		if len(asked) > len(list) {
			t.Errorf("asked once too often: %+v", got)
			return
		}
		list[len(asked)-1](w)
	}))
	t.Cleanup(server.Close)
	return server, &asked
}

func ok(object any) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(object) }
}

func no(code int, reason metav1.StatusReason) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Reason: reason, Code: int32(code), Message: "it says why"})
	}
}

// pod makes the folder of a pod's service account for the server, and returns the access by it.
func pod(t *testing.T, server *httptest.Server) (Access, string) {
	t.Helper()
	folder := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write(t, filepath.Join(folder, "ca.crt"), string(authority))
	write(t, filepath.Join(folder, "token"), "first\n")
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(address.Host)
	if err != nil {
		t.Fatal(err)
	}
	access, err := inPod(folder, host, port)
	if err != nil {
		t.Fatal(err)
	}
	return access, folder
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGetReadsAndCreates(t *testing.T) {
	there := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "5"}}
	server, asked := answers(t, ok(there), no(404, metav1.StatusReasonNotFound), ok(there))
	access, folder := pod(t, server)
	c := New(access, "n", "system", map[string]string{"a": "b"})
	if got, err := c.Get(t.Context()); err != nil || got.ResourceVersion != "5" {
		t.Errorf("node %+v, %v", got, err)
	}
	write(t, filepath.Join(folder, "token"), "second\n") // the kubelet replaces it every hour
	if got, err := c.Get(t.Context()); err != nil || got.ResourceVersion != "5" {
		t.Errorf("node %+v, %v", got, err)
	}
	const path = "/apis/bourse.dev/v1alpha1/gpunodes"
	want := []request{
		{Method: "GET", Path: path + "/n", Authorization: "Bearer first"},
		{Method: "GET", Path: path + "/n", Authorization: "Bearer second"},
		{Method: "POST", Path: path, Type: "application/json", Authorization: "Bearer second", Body: map[string]any{
			"apiVersion": "bourse.dev/v1alpha1", "kind": "GPUNode", "metadata": map[string]any{"name": "n", "labels": map[string]any{"a": "b"}}, "status": map[string]any{},
		}},
	}
	for i := range *asked {
		if (*asked)[i].Method == http.MethodPost {
			delete((*asked)[i].Body["metadata"].(map[string]any), "creationTimestamp")
			if (*asked)[i].Body["status"] == nil {
				(*asked)[i].Body["status"] = map[string]any{}
			}
		}
	}
	if diff := cmp.Diff(want, *asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestWriteLocksAndRemoves(t *testing.T) {
	server, asked := answers(t, ok(map[string]any{}), no(409, metav1.StatusReasonConflict))
	access, _ := pod(t, server)
	c := New(access, "n", "system", nil)
	node := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "5"}}
	node.Status.GPUs = new(int32(0))
	if err := c.Write(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	want := request{
		Method: "PATCH", Path: "/apis/bourse.dev/v1alpha1/gpunodes/n/status", Type: "application/merge-patch+json", Authorization: "Bearer first",
		Body: map[string]any{"metadata": map[string]any{"resourceVersion": "5"}, "status": map[string]any{
			"bootID": nil, "conditions": nil, "devices": nil, "driverVersion": nil, "gpus": 0.0, "healthy": nil, "recycled": nil, "record": nil,
		}},
	}
	if diff := cmp.Diff(want, (*asked)[0]); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if err := c.Write(t.Context(), node); !apierrors.IsConflict(err) {
		t.Errorf("err = %v, want a conflict", err)
	}
}

func TestBeatRenewsAndCreates(t *testing.T) {
	server, asked := answers(t, ok(map[string]any{}), no(404, metav1.StatusReasonNotFound), ok(map[string]any{}))
	access, _ := pod(t, server)
	c := New(access, "n", "system", nil)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for range 2 {
		if err := c.Beat(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]string, 0, len(*asked))
	for _, r := range *asked {
		spec := r.Body["spec"].(map[string]any)
		got = append(got, fmt.Sprint(r.Method, " ", r.Path, " ", spec["holderIdentity"], " ", spec["leaseDurationSeconds"], " ", spec["renewTime"]))
	}
	const path, tail = "/apis/coordination.k8s.io/v1/namespaces/system/leases", " n 120 2026-03-01T12:00:00.000000Z"
	if diff := cmp.Diff([]string{"PATCH " + path + "/bourse-agent-n" + tail, "PATCH " + path + "/bourse-agent-n" + tail, "POST " + path + tail}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestWhatAServerSaysThatIsNoAPIServer(t *testing.T) {
	server, _ := answers(t, func(w http.ResponseWriter) { http.Error(w, "<html>", http.StatusBadGateway) },
		func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example")
			w.WriteHeader(http.StatusFound)
		},
		func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") })
	access, _ := pod(t, server)
	c := New(access, "n", "system", nil)
	for range 3 {
		if node, err := c.Get(t.Context()); err == nil {
			t.Errorf("node %+v", node)
		}
	}
}

func TestAServerWithAnotherCertificateHearsNoToken(t *testing.T) {
	server, asked := answers(t)
	access, _ := pod(t, server)
	access.tls.RootCAs = nil
	if _, err := New(access, "n", "system", nil).Get(t.Context()); err == nil || len(*asked) > 0 {
		t.Errorf("err = %v, asked %v", err, *asked)
	}
}

func TestInPodOutsideOfAPod(t *testing.T) {
	if _, err := inPod(t.TempDir(), "", ""); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("err = %v", err)
	}
	if _, err := inPod(t.TempDir(), "10.0.0.1", "443"); err == nil {
		t.Error("a pod without a service account has access")
	}
}

func TestFromFile(t *testing.T) {
	server, asked := answers(t, ok(map[string]any{}), ok(map[string]any{}))
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	folder := t.TempDir()
	write(t, filepath.Join(folder, "ca.pem"), string(authority))
	write(t, filepath.Join(folder, "token"), "from-file")
	for name, text := range map[string]string{
		"data":  "certificate-authority-data: " + base64.StdEncoding.EncodeToString(authority) + "}}]\nusers: [{name: u, user: {token: inline}}]\n",
		"files": "certificate-authority: ca.pem}}]\nusers: [{name: u, user: {tokenFile: token}}]\n",
	} {
		path := filepath.Join(folder, name)
		write(t, path, "current-context: x\ncontexts: [{name: y, context: {cluster: no, user: no}}, {name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: '"+server.URL+"', "+text)
		access, err := FromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(access, "n", "system", nil).Get(t.Context()); err != nil {
			t.Error(err)
		}
	}
	tokens := map[string]bool{}
	for _, r := range *asked {
		tokens[r.Authorization] = true
	}
	if diff := cmp.Diff(map[string]bool{"Bearer inline": true, "Bearer from-file": true}, tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

func TestFromFileRefuses(t *testing.T) {
	const head = "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
	cases := map[string]struct{ text, says string }{
		"no file of the kind":       {"token: [secret", "no kubeconfig"},
		"no context":                {"clusters: []", "current context"},
		"no check of certificates":  {head + "clusters: [{name: c, cluster: {server: 'https://a', insecure-skip-tls-verify: true}}]\nusers: [{name: u, user: {token: secret}}]", "insecure-skip-tls-verify"},
		"a command":                 {head + "clusters: [{name: c, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {exec: {command: aws}}}]", "exec"},
		"a provider":                {head + "clusters: [{name: c, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {auth-provider: {name: gcp}}}]", "auth-provider"},
		"authorities that are none": {head + "clusters: [{name: c, cluster: {server: 'https://a', certificate-authority-data: c2VjcmV0}}]\nusers: [{name: u, user: {}}]", "authorities"},
		"half a certificate":        {head + "clusters: [{name: c, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {client-certificate-data: c2VjcmV0}}]", "do not belong together"},
		"a file that is not there":  {head + "clusters: [{name: c, cluster: {server: 'https://a', certificate-authority: nowhere}}]\nusers: [{name: u, user: {}}]", "nowhere"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kubeconfig")
			write(t, path, tc.text)
			if _, err := FromFile(path); err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("err = %v, want one that says %q", err, tc.says)
			}
		})
	}
	if _, err := FromFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there gives access")
	}
}
