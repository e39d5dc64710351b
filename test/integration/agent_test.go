// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpunode"
	"github.com/bourse-dev/bourse/internal/nvml/nvmltest"
)

const (
	agentSystem  = "agent-system" // the namespace of the agents' installation
	agentAccount = "bourse-agent"
	ownNode      = "oslo-h100-0"
	otherNode    = "oslo-h100-1"

	agentPatience = 30 * time.Second
)

// agentLab is a real API server with the agents' part of the real chart.
type agentLab struct {
	*testing.T

	admin client.Client
}

func newAgentLab(t *testing.T) *agentLab {
	t.Helper()
	admin, err := client.New(apiServer, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &agentLab{t, admin}
	if err := boursev1.AddToScheme(admin.Scheme()); err != nil {
		t.Fatal(err)
	}
	l.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agentSystem}})
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "helm", "template", "bourse", "charts/bourse", "--namespace", agentSystem,
		"--values", "charts/bourse/values-supplier.yaml", "--show-only", "templates/agent.yaml")
	cmd.Dir = filepath.Join("..", "..")
	rendered, err := cmd.Output()
	if err != nil {
		t.Fatalf("render the chart: %v", err)
	}
	for document := range strings.SplitSeq(string(rendered), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		l.create(object)
	}
	for _, node := range []string{ownNode, otherNode} {
		l.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}})
		l.create(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "agent-" + node, Namespace: agentSystem},
			Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: agentAccount, Containers: []corev1.Container{{Name: "agent", Image: "agent"}}},
		})
	}
	return l
}

// create creates an object, and deletes it after the test.
func (l *agentLab) create(object client.Object) {
	l.Helper()
	if err := l.admin.Create(l.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
		l.Fatal(err)
	}
	if object.GetName() != agentSystem { // a namespace needs a controller to end
		l.Cleanup(func() {
			if err := l.admin.Delete(cleanupContext(), object); client.IgnoreNotFound(err) != nil {
				l.Errorf("delete: %v", err)
			}
		})
	}
}

// token is what the kubelet of the node gives to the agent's pod; without a node, it is one of the account alone.
func (l *agentLab) token(node string) string {
	l.Helper()
	request := &authenticationv1.TokenRequest{}
	if node != "" {
		pod := &corev1.Pod{}
		if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: agentSystem, Name: "agent-" + node}, pod); err != nil {
			l.Fatal(err)
		}
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agentSystem, Name: agentAccount}}
	if err := l.admin.SubResource("token").Create(l.Context(), account, request); err != nil {
		l.Fatal(err)
	}
	return request.Status.Token
}

// as returns a client with the token alone.
func (l *agentLab) as(token string) client.Client {
	l.Helper()
	config := rest.AnonymousClientConfig(apiServer)
	config.BearerToken = token
	c, err := client.New(config, client.Options{Scheme: l.admin.Scheme()})
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *agentLab) eventually(what string, holds func() bool) {
	l.Helper()
	for began := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > agentPatience {
			l.Fatalf("not within %s: %s", agentPatience, what)
		}
	}
}

// run runs the real agent of the node, and returns what ends it and wants it to end well.
func (l *agentLab) run(library string) (stop func()) {
	l.Helper()
	dir := l.TempDir()
	binary := filepath.Join(dir, "bourse-agent")
	build := exec.CommandContext(l.Context(), "go", "build", "-tags=grpcnotrace", "-o", binary, "./cmd/agent")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		l.Fatalf("build the agent: %v\n%s", err, output)
	}
	kubeconfig := fmt.Sprintf(`{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],"users":[{"name":"u","user":{"token":%q}}]}`,
		serverURL(), base64.StdEncoding.EncodeToString(apiServer.CAData), l.token(ownNode))
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		l.Fatal(err)
	}
	agent := exec.CommandContext(context.WithoutCancel(l.Context()), binary, "--node="+ownNode, "--namespace="+agentSystem, "--kubeconfig="+filepath.Join(dir, "kubeconfig"),
		"--nvml-library="+library, "--kubelet-socket=", "--key="+filepath.Join(dir, "agent.key"), "--address=0", "--interval=1s")
	var log bytes.Buffer
	agent.Stderr = &log
	if err := agent.Start(); err != nil {
		l.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
			l.Error(err)
		}
		if err := agent.Wait(); err != nil || l.Failed() {
			l.Errorf("the agent: %v\n%s", err, log.String())
		}
	}
	l.Cleanup(stop)
	return stop
}

func (l *agentLab) node() *boursev1.GPUNode {
	l.Helper()
	node := &boursev1.GPUNode{}
	if err := l.admin.Get(l.Context(), types.NamespacedName{Name: ownNode}, node); client.IgnoreNotFound(err) != nil {
		l.Fatal(err)
	}
	return node
}

func serverURL() string {
	return "https://" + strings.Trim(strings.TrimPrefix(apiServer.Host, "https://"), "/")
}

// table is what kubectl prints.
func (l *agentLab) table() string {
	l.Helper()
	transport, err := rest.HTTPClientFor(apiServer)
	if err != nil {
		l.Fatal(err)
	}
	request, err := http.NewRequestWithContext(l.Context(), http.MethodGet, serverURL()+"/apis/bourse.dev/v1alpha1/gpunodes", nil)
	if err != nil {
		l.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := transport.Do(request)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		l.Fatalf("%s, %v: %s", response.Status, err, text)
	}
	var table metav1.Table
	if err := yaml.Unmarshal(text, &table); err != nil {
		l.Fatal(err)
	}
	var lines strings.Builder
	for _, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			fmt.Fprintf(&lines, "%-16s", strings.ToUpper(column.Name))
		}
	}
	for _, row := range table.Rows {
		lines.WriteString("\n")
		for i, cell := range row.Cells {
			if table.ColumnDefinitions[i].Priority == 0 {
				fmt.Fprintf(&lines, "%-16v", cell)
			}
		}
	}
	return lines.String()
}

func TestTheAgentAndARealAPIServer(t *testing.T) {
	l := newAgentLab(t)
	machine := nvmltest.H100s()
	lib := nvmltest.Build(t, machine)
	stop := l.run(lib.Path)
	l.eventually("eight GPUs are reported", func() bool { return len(l.node().Status.Devices) == 8 })
	first := l.node()
	t.Cleanup(func() { _ = l.admin.Delete(cleanupContext(), first) }) // another test may have deleted it
	if err := gpunode.Verify(first); err != nil {
		t.Errorf("what the API server keeps is not what was signed: %v", err)
	}
	if columns := l.table(); !strings.Contains(columns, "h100-sxm-80gb") || !strings.Contains(columns, "Reading") {
		t.Errorf("kubectl get gpunodes:\n%s", columns)
	}
	var lease coordinationv1.Lease
	l.eventually("the agent shows that it is there", func() bool {
		return l.admin.Get(t.Context(), client.ObjectKey{Namespace: agentSystem, Name: "bourse-agent-" + ownNode}, &lease) == nil
	})
	t.Cleanup(func() { _ = l.admin.Delete(cleanupContext(), &lease) }) // it was the agent's
	if *lease.Spec.LeaseDurationSeconds != 120 || *lease.Spec.HolderIdentity != ownNode || time.Since(lease.Spec.RenewTime.Time) > time.Minute {
		t.Errorf("lease %+v", lease.Spec)
	}

	machine.GPUs[3].Lost = true
	machine.Events = []nvmltest.Event{{GPU: 3, XID: 79}}
	lib.Set(t, machine)
	l.eventually("one of them is sick", func() bool { return *l.node().Status.Healthy == 7 })
	second := l.node()
	if err := gpunode.Verify(second); err != nil || second.Status.Record.Sequence != first.Status.Record.Sequence+1 {
		t.Errorf("record %d, %v", second.Status.Record.Sequence, err)
	}
	t.Logf("kubectl get gpunodes:\n%s", l.table())

	machine.GPUs[3].Lost = false
	lib.Set(t, machine)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"bourse.dev/recycle":"1"}}}`))
	if err := l.admin.Patch(t.Context(), second, patch); err != nil {
		t.Fatal(err)
	}
	l.eventually("the mended one is well", func() bool { node := l.node(); return *node.Status.Healthy == 8 && node.Status.Recycled == "1" })
	version := l.node().ResourceVersion
	stop()
	stop = l.run(lib.Path) // with a key of its own, since it runs in another folder
	time.Sleep(3 * time.Second)
	if after := l.node(); after.ResourceVersion != version {
		t.Errorf("an agent with another key wrote %+v", after.Status.Record)
	}
	if err := l.admin.Delete(t.Context(), l.node()); err != nil {
		t.Fatal(err)
	}
	l.eventually("the node starts again with another key", func() bool {
		key := l.node().Status.Record.PublicKey
		return key != "" && key != first.Status.Record.PublicKey
	})
	stop()
}

func TestAnAgentWritesForItsOwnNodeOnly(t *testing.T) {
	l := newAgentLab(t)
	own, other, nobody := l.as(l.token(ownNode)), l.as(l.token(otherNode)), l.as(l.token(""))
	node := func(name string) *boursev1.GPUNode {
		return &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	lease := func(name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: agentSystem, Name: name}}
	}
	// A policy takes a moment until it counts.
	l.eventually("the policy counts", func() bool {
		err := other.Create(t.Context(), lease("probe"), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "own node only")
	})
	for _, create := range []struct {
		by client.Client
		of client.Object
	}{{own, node(ownNode)}, {other, node(otherNode)}, {own, lease("bourse-agent-" + ownNode)}, {other, lease("bourse-agent-" + otherNode)}} {
		if err := create.by.Create(t.Context(), create.of); err != nil {
			t.Fatalf("%s: %v", create.of.GetName(), err)
		}
		t.Cleanup(func() {
			if err := l.admin.Delete(cleanupContext(), create.of); err != nil {
				t.Error(err)
			}
		})
	}
	status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"driverVersion":"1"}}`))
	renew := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"leaseDurationSeconds":9}}`))
	note := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"bourse.dev/recycle":"1"}}}`))
	if err := own.Status().Patch(t.Context(), node(ownNode), status); err != nil {
		t.Error(err)
	}
	if err := own.Patch(t.Context(), lease("bourse-agent-"+ownNode), renew); err != nil {
		t.Error(err)
	}
	refused := map[string]error{
		"the status of another node":           own.Status().Patch(t.Context(), node(otherNode), status),
		"the object of a node that has none":   own.Create(t.Context(), node("oslo-h100-2")),
		"the sign of life of another node":     own.Patch(t.Context(), lease("bourse-agent-"+otherNode), renew),
		"the leader's lease":                   own.Create(t.Context(), lease("bourse-manager-supplier")),
		"its own metadata":                     own.Patch(t.Context(), node(ownNode), note),
		"its own object's end":                 own.Delete(t.Context(), node(ownNode)),
		"a status by a token without a node":   nobody.Status().Patch(t.Context(), node(ownNode), status),
		"a lease by a token without a node":    nobody.Create(t.Context(), lease("bourse-agent-")),
		"an object by a token without a node":  nobody.Create(t.Context(), node("oslo-h100-2")),
		"leases of another namespace":          own.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bourse-agent-" + ownNode}}),
		"the pods of its own namespace":        own.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: agentSystem, Name: "x"}}),
		"the Secrets of its own namespace too": own.List(t.Context(), &corev1.SecretList{}, client.InNamespace(agentSystem)),
	}
	for what, err := range refused {
		if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v, want it refused", what, err)
		}
	}
	if err := l.admin.Status().Patch(t.Context(), node(ownNode), status); err != nil {
		t.Errorf("an administrator: %v", err)
	}
}
