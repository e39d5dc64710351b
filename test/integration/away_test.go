// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/builders"
)

// link leads from an address to a server. Nobody listens at the address until it is opened.
type link struct {
	t  *testing.T
	at string
	to string

	mu   sync.Mutex
	ends []io.Closer // the listener and all connections, while it is open
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	return &link{t: t, at: free(t), to: strings.TrimPrefix(to, "https://")}
}

// open lets connections through until the test ends.
func (l *link) open() {
	l.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(l.t.Context(), "tcp", l.at)
	if err != nil {
		l.t.Fatal(err)
	}
	l.note(listener)
	var open sync.WaitGroup
	l.t.Cleanup(func() {
		_ = listener.Close() // nobody is to come any more
		open.Wait()
	})
	open.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			l.note(from)
			go l.pass(from)
		}
	})
}

// cut ends all connections, and lets no new ones through until it is opened again.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range l.ends {
		_ = end.Close() // it may have ended by itself
	}
	l.ends = nil
}

func (l *link) note(end io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends = append(l.ends, end)
}

// pass copies both ways until one side ends.
func (l *link) pass(from net.Conn) {
	to, err := (&net.Dialer{}).DialContext(cleanupContext(), "tcp", l.to)
	if err != nil {
		_ = from.Close() // as if the server had refused it
		return
	}
	go func() {
		_, _ = io.Copy(to, from) // either side may end at any time
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to) // either side may end at any time
	_ = from.Close()
}

// answers returns the status with which the URL answers, and 0 if it does not.
func answers(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// rayKinds installs the kinds of KubeRay, as far as a manager asks for them.
func (l *joinLab) rayKinds() {
	l.Helper()
	for kind, plural := range map[string]string{"RayCluster": "rayclusters", "RayJob": "rayjobs"} {
		open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
		l.create(&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + ".ray.io"},
			"spec": map[string]any{
				"group": "ray.io", "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": plural, "listKind": kind + "List"},
				"versions": []any{map[string]any{
					"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": open},
				}},
			},
		}})
	}
}

// let takes the finalizers off a pool whose manager has ended.
func (l *joinLab) let(pool string) {
	l.Helper()
	found := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: pool}}
	none := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := l.admin.Patch(cleanupContext(), found, none); client.IgnoreNotFound(err) != nil {
		l.Errorf("take finalizers off pool %s: %v", pool, err)
	}
}

// farConfig writes a kubeconfig of the API server's administrator who reaches it at another address.
func farConfig(t *testing.T, path, at string) {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://" + at, CertificateAuthorityData: apiServer.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: apiServer.CertData, ClientKeyData: apiServer.KeyData}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
}

// watched returns the kinds of ours that somebody watches in single namespaces, which only the managers of members do.
func (l *joinLab) watched() []string {
	l.Helper()
	web, err := rest.HTTPClientFor(apiServer)
	if err != nil {
		l.Fatal(err)
	}
	request, err := http.NewRequestWithContext(l.Context(), http.MethodGet, serverURL()+"/metrics", nil)
	if err != nil {
		l.Fatal(err)
	}
	response, err := web.Do(request)
	if err != nil {
		l.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		l.Fatal(err)
	}
	open := regexp.MustCompile(`(?m)^apiserver_longrunning_requests\{.*group="bourse\.dev",resource="([a-z]+)",scope="namespace".*verb="WATCH".*\} [1-9]`)
	found := open.FindAllStringSubmatch(string(text), -1)
	kinds := make([]string, 0, len(found))
	for _, match := range found {
		kinds = append(kinds, match[1])
	}
	slices.Sort(kinds)
	return kinds
}

// waits checks that the manager lives, is not ready, and has said once why, and that it goes on when the hub has answered.
func (l *joinLab) waits(log *lines, health string, answer func()) {
	l.Helper()
	const waiting = "Did not reach the hub, and keeps trying"
	l.eventually("the manager says that it waits", func() bool { return strings.Contains(log.String(), waiting) })
	tries := time.Now()
	l.eventually("the manager has tried more than once", func() bool { return time.Since(tries) > 3*time.Second })
	if got := answers(l.T, health+"/healthz"); got != http.StatusOK {
		l.Errorf("while the hub is away, /healthz answers %d", got)
	}
	if got := answers(l.T, health+"/readyz"); got != http.StatusInternalServerError {
		l.Errorf("while the hub is away, /readyz answers %d", got)
	}
	if said := strings.Count(log.String(), waiting); said != 1 {
		l.Errorf("it was said %d times", said)
	}
	answer()
	took := l.eventually("the manager works", func() bool { return answers(l.T, health+"/readyz") == http.StatusOK })
	l.Logf("works %s after the hub answered", took.Round(time.Millisecond))
	if !strings.Contains(log.String(), "Reached the hub") {
		l.Error("nothing says that the hub was reached")
	}
}

// A member's manager that starts while its hub is away waits for it.
func TestAManagerWaitsForItsHub(t *testing.T) {
	s := scheme(t)
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	manager, command := binaries(t)
	dir, chainURL := t.TempDir(), genesis(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	adminConfig(t, file("admin.kubeconfig"))
	for _, key := range []string{"wallet.json", "agent.json"} {
		if _, err := signer.NewFile(file(key)); err != nil {
			t.Fatal(err)
		}
	}
	common := []string{"--kubeconfig=" + file("admin.kubeconfig"), "--chain-rpc=" + chainURL, "--metrics-address=0"}

	t.Run("a supplier by kubeconfig", func(t *testing.T) {
		l := &joinLab{T: t, admin: admin}
		l.rayKinds()
		const namespace, pool = "member-away", "away"
		l.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		l.create(&boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: pool}, Spec: boursev1.GPUPoolSpec{
			NodeSelector: map[string]string{"bourse.dev/pool": pool}, PriceUSD: "1.85", Tokens: []boursev1.TokenSymbol{"IO"}, Region: "eu-north",
		}})
		t.Cleanup(func() { l.let(pool) })
		away, health := newLink(t, serverURL()), free(t)
		farConfig(t, file("hub.kubeconfig"), away.at)
		log := start(t, manager, slices.Concat(common, []string{
			"--roles=supplier", "--health-address=" + health, "--supplier-keypair=" + file("wallet.json"), "--state-namespace=" + namespace,
			"--hub-kubeconfig=" + file("hub.kubeconfig"), "--member-namespace=" + namespace,
		})...)
		l.waits(log, "http://"+health, away.open)
		idle := []string{"gpuleases", "gpuoffers", "members", "stakepositions"}
		if diff := cmp.Diff(idle, l.watched()); diff != "" { // each takes the hub's memory, and the hub's benchmark counts on there being no more
			t.Errorf("without leases it watches (-want +got):\n%s", diff)
		}
		_, lease := builders.Leased(t, "away")
		lease.ObjectMeta, lease.Status = metav1.ObjectMeta{Namespace: namespace, Name: lease.Name}, boursev1.GPULeaseStatus{}
		l.create(lease)
		l.eventually("with a lease, it watches what leases run", func() bool {
			return slices.Equal(l.watched(), []string{"gpuleases", "gpuoffers", "leaseprograms", "members", "stakepositions"})
		})
		l.eventually("the pool was looked at", func() bool {
			found := &boursev1.GPUPool{}
			return admin.Get(t.Context(), client.ObjectKey{Name: pool}, found) == nil && len(found.Status.Conditions) > 0
		})
	})
	t.Run("a buyer that joined", func(t *testing.T) {
		l := &joinLab{T: t, admin: admin}
		l.role("member-role.yaml")
		l.readable()
		server := free(t)
		joins, api, health := newLink(t, server), newLink(t, serverURL()), free(t)
		hub := start(t, manager, slices.Concat(common, []string{
			"--roles=market", "--health-address=0", "--join-address=" + server, "--join-url=https://" + joins.at,
			"--join-cert-dir=" + dir, "--join-self-signed", "--join-hub-url=https://" + api.at,
		})...)
		l.eventually("the hub is open", func() bool { return strings.Contains(hub.String(), "Opened the hub") })
		log := start(t, manager, slices.Concat(common, []string{
			"--roles=buyer", "--health-address=" + health, "--buyer-keypair=" + file("wallet.json"),
			"--hub-join=https://" + joins.at, "--hub-join-ca=" + file("tls.crt"), "--hub-join-agent-key=" + file("agent.json"),
		})...)
		l.waits(log, "http://"+health, func() {
			joins.open()
			l.eventually("the hub does not know it yet", func() bool { return strings.Contains(log.String(), "NotMember") })
			joined, err := exec.CommandContext(t.Context(), command, "join", "--hub=https://"+joins.at, "--hub-ca="+file("tls.crt"),
				"--wallet="+file("wallet.json"), "--agent-key="+file("agent.json"), "--role=buyer", "--out="+file("kubeconfig")).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, joined)
			}
			api.open()
		})
	})
}
