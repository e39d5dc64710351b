// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/gateway"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/leaseview"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/tunnel"
	"github.com/bourse-dev/bourse/test/builders"
)

// The users as whom the gateway and a supplier's manager act, with the rights that their charts give them.
const (
	gatewayServer = "gateway-server"
	supplierUser  = "supplier-manager"
)

// gatewayLab is a market with a gateway: one member's job runs at another member, whose cluster is the same API server, with a kubelet and a
// Ray head that only have what the gateway asks them for.
type gatewayLab struct {
	*joinLab

	buyer, other, supplier, competitor join.Access
	tunnels                            *tunnel.Hub
	at                                 access.Gateway
	http                               *http.Transport
	lease                              *boursev1.GPULease
}

func newGatewayLab(t *testing.T) *gatewayLab {
	t.Helper()
	l := &gatewayLab{joinLab: newJoinLab(t), tunnels: tunnel.NewHub(8, tunnel.DefaultPulse())}
	member := func(name string) join.Access {
		return l.must(l.send(join.Join, builders.Wallet(name), builders.Wallet("agent of "+name)))
	}
	l.buyer, l.other, l.supplier, l.competitor = member("gateway buyer"), member("gateway other"), member("gateway supplier"), member("gateway competitor")
	l.role("market-role.yaml")
	l.role("gateway-role.yaml")
	l.role("supplier-role.yaml")
	for user, roles := range map[string][]string{gatewayServer: {"bourse-market", "bourse-gateway"}, supplierUser: {"bourse-supplier"}} {
		for _, role := range roles {
			l.create(&rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: user + "-" + role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
			})
		}
	}
	l.open()
	l.runJob()
	return l
}

// actAs is the API server's access of a user.
func (l *gatewayLab) actAs(user string) (*rest.Config, client.Client) {
	l.Helper()
	config := rest.CopyConfig(apiServer)
	config.QPS, config.Impersonate = -1, rest.ImpersonationConfig{UserName: user}
	c, err := client.New(config, client.Options{Scheme: l.admin.Scheme()})
	if err != nil {
		l.Fatal(err)
	}
	return config, c
}

// open runs the gateway.
func (l *gatewayLab) open() {
	l.Helper()
	_, hub := l.actAs(gatewayServer)
	l.eventually("the gateway has its rights", func() bool { return hub.List(l.Context(), &boursev1.ComputeJobList{}) == nil })
	leads := make(chan struct{})
	close(leads)
	server := httptest.NewUnstartedServer(gateway.NewServer(gateway.Options{
		Hub: hub, Reviewer: hub, Tunnels: l.tunnels, Leads: leads, Recheck: 200 * time.Millisecond,
		Recorder: metrics.New(prometheus.NewRegistry()), Log: logr.Discard(), Now: time.Now,
	}).Handler())
	ctx, stop := context.WithCancel(cleanupContext())
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.StartTLS()
	l.Cleanup(server.Close)
	l.Cleanup(stop)
	l.at = access.Gateway{
		URL: server.URL, Authorities: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	}
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	l.http = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	l.Cleanup(l.http.CloseIdleConnections)
}

// jobOf creates a job of a member's that the market gave the lease.
func (l *gatewayLab) jobOf(namespace string, lease *boursev1.ObjectReference) *boursev1.ComputeJob {
	l.Helper()
	l.count(namespace)
	job := jobIn(namespace, "train")
	job.Spec.Ray.Entrypoint = "python /bourse/program.py"
	l.eventually("there is room for a job", func() bool {
		err := l.admin.Create(l.Context(), job)
		if err != nil && !apierrors.IsForbidden(err) {
			l.Fatal(err)
		}
		return err == nil
	})
	l.Cleanup(func() {
		if err := l.admin.Delete(cleanupContext(), job); err != nil {
			l.Errorf("delete job: %v", err)
		}
	})
	job.Status.Lease = lease
	if err := l.admin.Status().Update(l.Context(), job); err != nil {
		l.Fatal(err)
	}
	return job
}

// runJob gives the buyer's job a lease at the supplier, and the lease a namespace with pods.
func (l *gatewayLab) runJob() {
	l.Helper()
	_, lease := builders.Leased(l, "train")
	lease.Name = "train-" + strings.ToLower(rand.Text()) // a namespace needs a controller to end, and lasts as long as the API server
	l.lease = &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Namespace: l.supplier.Namespace, Name: lease.Name}, Spec: lease.Spec}
	reference := &boursev1.ObjectReference{Namespace: l.lease.Namespace, Name: l.lease.Name}
	job := l.jobOf(l.buyer.Namespace, reference)
	l.jobOf(l.other.Namespace, reference) // a market that is mistaken, or a member that is cleverer than it
	l.lease.Spec.Ends = boursev1.EndsWithProgram
	l.lease.Spec.Job = boursev1.JobReference{Namespace: job.Namespace, Name: job.Name, UID: string(job.UID)}
	l.create(l.lease)
	plan := ray.Plan{
		Namespace: ray.LeaseSpace(lease.Name), Lease: lease.Name, Image: "ray:2.54.1", Run: "python", Token: "Ray's own", Workers: 2, Version: "2.54.1",
		Hosts: []string{"gateway-node"}, HeadHosts: []string{"gateway-node"},
	}
	objects := plan.Objects()
	pods, err := raytest.Pods(objects[1], time.Now())
	if err != nil {
		l.Fatal(err)
	}
	l.create(plan.Space())
	l.create(objects[0])
	node := l.kubelet()
	for i, pod := range pods {
		pod.Spec.NodeName, pod.Spec.ServiceAccountName, pod.UID = node, "", ""
		pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
		l.create(pod)
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.0.%d", i+1), PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.0.0.%d", i+1)}}}
		if err := l.admin.Status().Update(l.Context(), pod); err != nil {
			l.Fatal(err)
		}
	}
}

// kubelet is a node of the supplier's whose kubelet has logs, and nothing else. A log that is followed does not end.
func (l *gatewayLab) kubelet() string {
	l.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(writer, "the log of %s\n", request.URL)
		if request.URL.Query().Get("follow") == "true" {
			_ = http.NewResponseController(writer).Flush()
			<-request.Context().Done()
		}
	}))
	l.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		l.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		l.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gateway-node"}}
	l.create(node)
	node.Status = corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(number)}},
	}
	if err := l.admin.Status().Update(l.Context(), node); err != nil {
		l.Fatal(err)
	}
	return node.Name
}

// connect opens a member's tunnel with what it got by joining, and answers there with its manager's rights in the supplier's cluster.
func (l *gatewayLab) connect(as join.Access) *tunnel.Member {
	l.Helper()
	head := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(writer, "%s %s with %s\n", request.Method, request.URL, request.Header.Get("Authorization"))
	}))
	l.Cleanup(head.Close)
	config, local := l.actAs(supplierUser)
	view, err := leaseview.New(leaseview.Options{
		Hub: l.as(as), Local: local, Secrets: local, Config: config, Namespace: as.Namespace, Log: logr.Discard(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "10.0.0.1:8265" {
				return nil, fmt.Errorf("%s is no Ray head", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, head.Listener.Addr().String())
		},
	})
	if err != nil {
		l.Fatal(err)
	}
	member := tunnel.NewMember(tunnel.MemberOptions{
		Namespace: as.Namespace, Handler: view.Handler(), Pulse: tunnel.DefaultPulse(), Retry: 50 * time.Millisecond, Log: logr.Discard(), Now: time.Now,
		Authorize: func(next http.RoundTripper) (http.RoundTripper, error) {
			return rest.HTTPWrappersForConfig(&rest.Config{BearerToken: as.Token}, next)
		},
	})
	ctx, cancel := context.WithCancel(cleanupContext())
	ended := make(chan error, 1)
	go func() { ended <- member.Start(ctx) }()
	l.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			l.Errorf("tunnel: %v", err)
		}
	})
	member.Point(l.at)
	return member
}

// get asks the gateway.
func (l *gatewayLab) get(ctx context.Context, as join.Access, path string) (*http.Response, error) {
	l.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.at.URL+path, nil)
	if err != nil {
		l.Fatal(err)
	}
	if as.Token != "" {
		request.Header.Set("Authorization", "Bearer "+as.Token)
	}
	return l.http.RoundTrip(request)
}

// ask returns the text of an answer, or the refusal.
func (l *gatewayLab) ask(as join.Access, path string) (string, error) {
	l.Helper()
	response, err := l.get(l.Context(), as, path)
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := access.RefusalOf(response); err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// split gives the members' jobs a second part each, on a lease of the buyer's job at a supplier that is not connected.
func (l *gatewayLab) split() {
	l.Helper()
	second := &boursev1.GPULease{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.competitor.Namespace, Name: l.lease.Name + "-1"}, Spec: *l.lease.Spec.DeepCopy(),
	}
	second.Spec.Part = &boursev1.LeasePart{Index: new(int32(1)), Of: 2}
	second.Spec.Escrow.ID = builders.Hash("lease of " + second.Name)
	l.create(second)
	for _, namespace := range []string{l.buyer.Namespace, l.other.Namespace} {
		job := &boursev1.ComputeJob{}
		if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: "train"}, job); err != nil {
			l.Fatal(err)
		}
		for _, lease := range []*boursev1.GPULease{l.lease, second} {
			job.Status.Parts = append(job.Status.Parts, boursev1.JobPart{
				Lease: boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}, Offer: lease.Spec.Offer, Workers: lease.Spec.Workers,
				PriceUSD: lease.Spec.Payment.PriceUSD, Score: "1.85",
			})
		}
		if err := l.admin.Status().Update(l.Context(), job); err != nil {
			l.Fatal(err)
		}
	}
}

// Every route of the gateway has a row for everybody. One that is new gives nobody anything until its row says so.
func TestWhoMayAskTheGatewayForWhat(t *testing.T) {
	l := newGatewayLab(t)
	supplier := l.connect(l.supplier)
	l.eventually("the supplier is connected", func() bool { return supplier.Connected() && l.tunnels.Open() == 1 })
	l.split()
	const answered access.Reason = "answered"
	job := func(of join.Access, what string) string { return access.OfJob(of.Namespace, "train", what) }
	part := func(of join.Access, part int, what string) string {
		return access.OfPart(of.Namespace, "train", part, what)
	}
	identities := map[string]join.Access{
		"nobody": {}, "a stranger": {Token: "guess"},
		"the buyer": l.buyer, "another member": l.other, "the supplier": l.supplier, "another supplier": l.competitor,
	}
	type row map[string]access.Reason
	nobody := func(but row) row { // what those get whom the row does not name
		full := row{}
		for name := range identities {
			full[name] = access.Forbidden
		}
		full["nobody"], full["a stranger"] = access.Unauthenticated, access.Unauthenticated
		maps.Copy(full, but)
		return full
	}
	rows := []struct {
		route, path string
		want        row
	}{
		{"GET " + access.LogPath, job(l.buyer, access.Log), nobody(row{"the buyer": answered})},
		{"GET " + access.LogPath, job(l.other, access.Log), nobody(row{"another member": access.LeaseUnknown})},
		{"GET " + access.OutputPath, job(l.buyer, access.Output), nobody(row{"the buyer": access.Unreachable})}, // this cluster has no KubeRay
		{"GET " + access.OutputPath, job(l.other, access.Output), nobody(row{"another member": access.LeaseUnknown})},
		{access.RayPath, job(l.buyer, access.Ray) + "/api/version", nobody(row{"the buyer": answered})},
		{access.RayPath, job(l.other, access.Ray) + "/api/version", nobody(row{"another member": access.LeaseUnknown})},
		{"GET " + access.PartLogPath, part(l.buyer, 0, access.Log), nobody(row{"the buyer": answered})},
		{"GET " + access.PartLogPath, part(l.buyer, 1, access.Log), nobody(row{"the buyer": access.NotConnected})},
		{"GET " + access.PartLogPath, part(l.buyer, 2, access.Log), nobody(row{"the buyer": access.PartUnknown})},
		{"GET " + access.PartLogPath, part(l.other, 0, access.Log), nobody(row{"another member": access.LeaseUnknown})},
		{"GET " + access.PartLogPath, part(l.other, 1, access.Log), nobody(row{"another member": access.LeaseUnknown})},
		{"GET " + access.PartOutputPath, part(l.buyer, 0, access.Output), nobody(row{"the buyer": access.Unreachable})}, // as above
		{"GET " + access.PartOutputPath, part(l.buyer, 1, access.Output), nobody(row{"the buyer": access.NotConnected})},
		{"GET " + access.PartOutputPath, part(l.other, 1, access.Output), nobody(row{"another member": access.LeaseUnknown})},
		{access.PartRayPath, part(l.buyer, 0, access.Ray) + "/api/version", nobody(row{"the buyer": answered})},
		{access.PartRayPath, part(l.buyer, 1, access.Ray) + "/api/version", nobody(row{"the buyer": access.NotConnected})},
		{access.PartRayPath, part(l.other, 1, access.Ray) + "/api/version", nobody(row{"another member": access.LeaseUnknown})},
		{"GET " + access.TunnelPath, access.OfTunnel(l.supplier.Namespace), nobody(row{"the supplier": access.Malformed})}, // it asks for no upgrade
		{"GET " + access.TunnelPath, access.OfTunnel(l.competitor.Namespace), nobody(row{"another supplier": access.Malformed})},
		{"GET " + access.TunnelPath, access.OfTunnel("kube-system"), nobody(nil)},
	}
	for _, route := range gateway.Routes() {
		if !slices.ContainsFunc(rows, func(r struct {
			route, path string
			want        row
		},
		) bool {
			return r.route == route
		}) {
			t.Errorf("the route %s has no row", route)
		}
	}
	l.eventually("the members have their rights", func() bool {
		_, err := l.ask(l.buyer, job(l.buyer, access.Log))
		return err == nil
	})
	for _, r := range rows {
		for name, want := range r.want {
			text, err := l.ask(identities[name], r.path)
			switch {
			case want == answered && err != nil, want != answered && !errors.Is(err, want):
				t.Errorf("%s at %s: %q, %v, want %s", name, r.path, text, err, want)
			case want == answered && !strings.Contains(text, "log of") && !strings.Contains(text, "GET /api/version with Bearer Ray's own"):
				t.Errorf("%s at %s: %q", name, r.path, text)
			}
		}
	}
}

func TestASuspendedMemberIsRefusedAtTheGateway(t *testing.T) {
	l := newGatewayLab(t)
	l.connect(l.supplier)
	path := access.OfJob(l.buyer.Namespace, "train", access.Log)
	l.eventually("the buyer may ask", func() bool { _, err := l.ask(l.buyer, path); return err == nil })
	response, err := l.get(t.Context(), l.buyer, path+"?follow=true&worker=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	reader := bufio.NewReader(response.Body)
	if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "ray-worker-1") {
		t.Fatalf("got %q, %v", line, err)
	}
	l.setState(l.buyer.Namespace, boursev1.MemberSuspended)
	began := time.Now()
	if _, err := reader.ReadString('\n'); err == nil {
		t.Error("the log goes on")
	}
	t.Logf("the log ended %s after the suspension", time.Since(began).Round(time.Millisecond))
	if text, err := l.ask(l.buyer, path); !errors.Is(err, access.Forbidden) && !errors.Is(err, access.Unauthenticated) {
		t.Errorf("got %q, %v", text, err)
	}
	l.setState(l.supplier.Namespace, boursev1.MemberSuspended)
	took := l.eventually("the supplier's tunnel is closed", func() bool { return l.tunnels.Open() == 0 })
	t.Logf("the tunnel was closed %s after the suspension", took.Round(time.Millisecond))
}

// The real command, with the kubeconfig that a member gets by joining.
func TestTheCommandShowsALogThroughTheGateway(t *testing.T) {
	l := newGatewayLab(t)
	l.readable()
	l.connect(l.supplier)
	market := builders.Market()
	market.UID, market.Generation = "", 0
	market.Spec.Gateway = &boursev1.MarketGateway{URL: l.at.URL, CABundle: l.at.Authorities}
	status := market.Status
	l.create(market)
	market.Status = status
	if err := l.admin.Status().Update(t.Context(), market); err != nil {
		t.Fatal(err)
	}
	_, command := binaries(t)
	config := clientcmdapi.NewConfig()
	config.Clusters["hub"] = &clientcmdapi.Cluster{Server: l.buyer.Server, CertificateAuthorityData: l.buyer.CA}
	config.AuthInfos["me"] = &clientcmdapi.AuthInfo{Token: l.buyer.Token}
	config.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "me", Namespace: l.buyer.Namespace}
	config.CurrentContext = "hub"
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	var output []byte
	l.eventually("the command shows the log", func() bool {
		var err error
		output, err = exec.CommandContext(t.Context(), command, "logs", "train", "--head", "--tail", "3", "--kubeconfig", kubeconfig).CombinedOutput()
		return err == nil
	})
	want := "the log of /containerLogs/" + ray.LeaseSpace(l.lease.Name) + "/ray-head/ray-head?tailLines=3\n"
	if string(output) != want {
		t.Errorf("got %q, want %q", output, want)
	}
}

// tokenConfig writes a kubeconfig of an account that may do everything, with its token: the gateway knows accounts by nothing else.
func (l *joinLab) tokenConfig(path string) {
	l.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "gateway-manager"}}
	l.create(account)
	l.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	})
	request := &authenticationv1.TokenRequest{}
	if err := l.admin.SubResource("token").Create(l.Context(), account, request); err != nil {
		l.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: serverURL(), CertificateAuthorityData: apiServer.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: request.Status.Token}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		l.Fatal(err)
	}
}

// A market of one cluster dials its own gateway, as a supplier elsewhere does, and follows what the Market says of it.
func TestTheRealManagerOpensATunnel(t *testing.T) {
	s := scheme(t)
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	l := &joinLab{T: t, admin: admin}
	l.rayKinds()
	manager, _ := binaries(t)
	dir, at := t.TempDir(), free(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	l.tokenConfig(file("kubeconfig"))
	if _, err := signer.NewFile(file("wallet.json")); err != nil {
		t.Fatal(err)
	}
	log := start(t, manager, "--kubeconfig="+file("kubeconfig"), "--chain-rpc="+genesis(t), "--metrics-address=0", "--health-address=0",
		"--roles=market,supplier", "--member-namespace=default", "--supplier-keypair="+file("wallet.json"), "--state-namespace=default",
		"--gateway-address="+at, "--gateway-cert-dir="+dir, "--gateway-self-signed=127.0.0.1")
	l.eventually("the gateway is open", func() bool { return strings.Contains(log.String(), "Opened the gateway") })
	authority, err := os.ReadFile(file("tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	market := builders.Market()
	market.UID, market.Generation = "", 0
	market.Spec.Gateway = &boursev1.MarketGateway{URL: "https://" + at, CABundle: string(authority)}
	status := market.Status
	l.create(market)
	l.eventually("the market is ready", func() bool { // its own controller may be writing, too
		found := &boursev1.Market{}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(market), found); err != nil {
			t.Fatal(err)
		}
		found.Status = status
		return admin.Status().Update(t.Context(), found) == nil
	})
	l.eventually("both sides have a tunnel", func() bool {
		return strings.Contains(log.String(), `"Opened a tunnel"`) && strings.Contains(log.String(), "Opened a tunnel to the gateway")
	})
	if err := admin.Delete(t.Context(), market); err != nil {
		t.Fatal(err)
	}
	l.eventually("the tunnel is closed when there is no market", func() bool { return strings.Contains(log.String(), `"Closed a tunnel"`) })
	config, err := clientcmd.LoadFromFile(file("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), config.AuthInfos["u"].Token) {
		t.Error("the log shows the token")
	}
}
