// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/signer"
)

// readable lets every account read what the chart lets it.
func (l *joinLab) readable() {
	l.Helper()
	const name = "member-reader"
	l.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{boursev1.GroupVersion.Group}, Resources: public(l.T), Verbs: []string{"get", "list", "watch"},
	}}})
	l.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"}},
	})
}

// public lists the kinds that the chart lets every account read.
func public(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "charts", "bourse", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Join struct {
			Readable []string `json:"readable"`
		} `json:"join"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	if len(values.Join.Readable) == 0 {
		t.Fatal("the chart lets nobody read anything")
	}
	return values.Join.Readable
}

// genesis is a chain that says which network it is, and nothing else.
func genesis(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		var asked struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || asked.Method != "getGenesisHash" {
			writer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		writer.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(writer, `{"jsonrpc":"2.0","id":%s,"result":"EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"}`, asked.ID)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// free is a local address that nobody listens at.
func free(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // somebody else is to listen there
	return listener.Addr().String()
}

// adminConfig writes a kubeconfig of the API server's administrator.
func adminConfig(t *testing.T, path string) {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: serverURL(), CertificateAuthorityData: apiServer.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: apiServer.CertData, ClientKeyData: apiServer.KeyData}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(more []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(more)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a program until the test ends, and returns what it logs.
func start(t *testing.T, program string, args ...string) *lines {
	t.Helper()
	log := &lines{}
	process := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := process.Wait(); err != nil || t.Failed() {
			t.Errorf("%s %v: %v\n%s", filepath.Base(program), args, err, log)
		}
	})
	return log
}

// binaries builds the manager and the command.
func binaries(t *testing.T) (manager, command string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-tags=grpcnotrace", "-o", dir+"/", "./cmd/manager", "./cmd/kubectl-bourse")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return filepath.Join(dir, "manager"), filepath.Join(dir, "kubectl-bourse")
}

// A market opens its hub, a stranger joins it from the command line, and its manager lives on what that gave it.
func TestTheRealProgramsJoin(t *testing.T) {
	s := scheme(t)
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	l := &joinLab{T: t, admin: admin}
	l.role("member-role.yaml")
	l.readable()
	l.guard()
	manager, command := binaries(t)
	dir, chainURL, joinAt := t.TempDir(), genesis(t), free(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	adminConfig(t, file("admin.kubeconfig"))
	wallet, err := signer.NewFile(file("wallet.json"))
	if err != nil {
		t.Fatal(err)
	}
	common := []string{"--kubeconfig=" + file("admin.kubeconfig"), "--chain-rpc=" + chainURL, "--metrics-address=0"}
	hub := start(t, manager, slices.Concat(common, []string{
		"--roles=market", "--health-address=0", "--join-address=" + joinAt, "--join-url=https://" + joinAt,
		"--join-cert-dir=" + dir, "--join-self-signed", "--join-hub-url=" + serverURL(),
	})...)
	l.eventually("the hub is open", func() bool { return strings.Contains(hub.String(), "Opened the hub") })

	joined, err := exec.CommandContext(t.Context(), command, "join", "--hub=https://"+joinAt, "--hub-ca="+file("tls.crt"), "--wallet="+file("wallet.json"),
		"--agent-key="+file("agent.json"), "--display-name=Fjord GPU", "--role=buyer", "--out="+file("kubeconfig")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, joined)
	}
	t.Logf("kubectl bourse join:\n%s", joined)
	own, err := clientcmd.BuildConfigFromFlags("", file("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	l.seesItself(own, file("kubeconfig"), wallet)

	health := free(t)
	member := start(t, manager, slices.Concat(common, []string{
		"--roles=buyer", "--health-address=" + health, "--buyer-keypair=" + file("wallet.json"),
		"--hub-join=https://" + joinAt, "--hub-join-ca=" + file("tls.crt"), "--hub-join-agent-key=" + file("agent.json"),
	})...)
	took := l.eventually("the member's manager has filled its caches from the hub, and works", func() bool {
		return strings.Count(member.String(), "Starting workers") == 3 && ready(t, "http://"+health+"/readyz")
	})
	t.Logf("the member's manager works after %s", took.Round(time.Millisecond))
	l.connected(namespaceOf(t, file("kubeconfig")))
	for _, log := range []*lines{hub, member} {
		if text := log.String(); strings.Contains(text, own.BearerToken) || strings.Contains(text, `"level":"error"`) && strings.Contains(text, "orbidden") {
			t.Errorf("the log shows the token, or that something is forbidden:\n%s", text)
		}
	}
}

// connected waits until the market says that it sees the member's manager.
func (l *joinLab) connected(namespace string) {
	l.Helper()
	took := l.eventually("the market sees the member's manager", func() bool {
		return meta.IsStatusConditionTrue(l.member(namespace).Status.Conditions, boursev1.MemberConnected)
	})
	l.Logf("the market sees the member's manager after %s", took.Round(time.Millisecond))
}

// namespaceOf is the namespace that a kubeconfig opens.
func namespaceOf(t *testing.T, path string) string {
	t.Helper()
	loaded, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Contexts[loaded.CurrentContext].Namespace
}

// seesItself checks that the kubeconfig opens the member's namespace.
func (l *joinLab) seesItself(config *rest.Config, path string, wallet *signer.Keypair) {
	l.Helper()
	namespace := namespaceOf(l.T, path)
	l.Cleanup(func() { l.remove(namespace) })
	c, err := client.New(config, client.Options{Scheme: l.admin.Scheme()})
	if err != nil {
		l.Fatal(err)
	}
	var found boursev1.Member
	l.eventually("the member sees itself", func() bool {
		return c.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &found) == nil
	})
	if string(found.Spec.Wallet) != wallet.PublicKey().String() || found.Spec.DisplayName != "Fjord GPU" {
		l.Errorf("member %+v", found.Spec)
	}
}

func ready(t *testing.T, url string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
