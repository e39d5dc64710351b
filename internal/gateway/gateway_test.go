// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/types"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/tunnel"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const soon = 10 * time.Second

// reviewer knows accounts by the token that has their name, and what they may do.
type reviewer struct {
	client.Writer

	mu     sync.Mutex
	rights map[string][]string // of an account: NAMESPACE VERB RESOURCE/PART
	asked  int
	fail   error
}

func (r *reviewer) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.fail != nil {
		return r.fail
	}
	switch review := object.(type) {
	case *authenticationv1.TokenReview:
		_, known := r.rights[review.Spec.Token]
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: known, User: authenticationv1.UserInfo{
			Username: review.Spec.Token, Groups: []string{"members"}, Extra: map[string]authenticationv1.ExtraValue{"from": {"the token"}},
		}}
	case *authorizationv1.SubjectAccessReview:
		of := review.Spec.ResourceAttributes
		want := fmt.Sprintf("%s %s %s/%s", of.Namespace, of.Verb, of.Resource, of.Subresource)
		for _, right := range r.rights[review.Spec.User] {
			review.Status.Allowed = review.Status.Allowed || right == want && review.Spec.Groups[0] == "members" && review.Spec.Extra["from"][0] == "the token"
		}
	default:
		return fmt.Errorf("%T was created", object)
	}
	return nil
}

func (r *reviewer) set(account string, rights ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rights[account] = rights
}

// recorder counts.
type recorder struct {
	mu   sync.Mutex
	seen map[string]int
}

func (r *recorder) GatewayRequest(route, outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[route+" "+outcome]++
}

func (r *recorder) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[what]
}

// bench is a gateway on real TLS with one supplier's tunnel.
type bench struct {
	*testing.T

	hub      *fakehub.Hub
	reviewer *reviewer
	recorder *recorder
	server   *Server
	base     string
	client   *http.Client
	gateway  access.Gateway
	supplier *http.ServeMux
	tunnels  *tunnel.Hub
	leads    chan struct{}
	stop     context.CancelFunc
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	b := &bench{
		T: t, hub: fakehub.New(t, nil, objects...), recorder: &recorder{seen: map[string]int{}}, supplier: http.NewServeMux(),
		tunnels: tunnel.NewHub(2, tunnel.DefaultPulse()), leads: make(chan struct{}),
		reviewer: &reviewer{rights: map[string][]string{
			"buyer":    {"team-a get computejobs/log", "team-a get computejobs/proxy", "team-a create computejobs/proxy"},
			"reader":   {"team-a get computejobs/log"},
			"other":    {"team-b get computejobs/log", "team-b get computejobs/proxy"},
			"supplier": {"oslo-dc create gpuleases/tunnel"},
		}},
	}
	close(b.leads)
	b.server = NewServer(Options{
		Hub: b.hub, Reviewer: b.reviewer, Tunnels: b.tunnels, Leads: b.leads, Recheck: 10 * time.Millisecond,
		Recorder: b.recorder, Log: logr.Discard(), Now: time.Now,
	})
	b.listen()
	return b
}

// selfSigned is made once, since that takes a while.
var selfSigned = sync.OnceValues(func() ([2][]byte, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	return [2][]byte{certificate, key}, err
})

// listen serves until the test ends.
func (b *bench) listen() {
	b.Helper()
	pair, err := selfSigned()
	if err != nil {
		b.Fatal(err)
	}
	certificate, key := pair[0], pair[1]
	served, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	b.stop = cancel
	ended := make(chan error, 1)
	go func() {
		ended <- b.server.Serve(ctx, listener, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &served, nil })
	}()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("serve: %v", err)
		}
	})
	b.base = "https://" + listener.Addr().String()
	b.gateway = access.Gateway{URL: b.base, Authorities: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate[0]}))}
	pool, err := certutil.NewPoolFromBytes(certificate)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	b.Cleanup(transport.CloseIdleConnections)
	b.client = &http.Client{Transport: transport}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (t bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+t.token)
	return t.next.RoundTrip(request)
}

// connect opens the tunnel of a namespace with an account's token.
func (b *bench) connect(namespace, token string) {
	b.Helper()
	member := tunnel.NewMember(tunnel.MemberOptions{
		Namespace: namespace, Handler: b.supplier, Pulse: tunnel.DefaultPulse(), Retry: 10 * time.Millisecond, Log: logr.Discard(), Now: time.Now,
		Authorize: func(next http.RoundTripper) (http.RoundTripper, error) { return bearer{token, next}, nil },
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- member.Start(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("tunnel: %v", err)
		}
	})
	member.Point(b.gateway)
}

func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	for end := time.Now().Add(soon); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("not within %s: %s", soon, what)
		}
	}
}

func (b *bench) request(method, path, token string, body io.Reader) *http.Request {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), method, b.base+path, body)
	if err != nil {
		b.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request
}

// ask asks, and returns the text of the answer or the refusal.
func (b *bench) ask(method, path, token string) (string, error) {
	b.Helper()
	return b.send(b.request(method, path, token, nil))
}

func (b *bench) send(request *http.Request) (string, error) {
	b.Helper()
	response, err := b.client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := access.RefusalOf(response); err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

var logOfTrain = access.OfJob(builders.Buyer, "train", access.Log)

// leased is a hub with a job that runs, and its supplier connected.
func leased(t *testing.T) *bench {
	t.Helper()
	job, lease := builders.Leased(t, "train")
	b := newBench(t, job, lease)
	b.supplier.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		for _, name := range []string{"Authorization", "X-Ray-Authorization", "Cookie", "X-Forwarded-For", "Proxy-Authorization", "Bourse-Upgrade", "Connection", "Te"} {
			if value, ok := request.Header[name]; ok {
				t.Errorf("the supplier sees %s: %s", name, value)
			}
		}
		writer.Header().Set("Set-Cookie", "ray-authentication-token=secret")
		body, err := io.ReadAll(request.Body)
		fmt.Fprintf(writer, "%s %s %s%v", request.Method, request.URL, body, map[error]string{nil: ""}[err])
	})
	b.connect(builders.Supplier, "supplier")
	b.eventually("the supplier is connected", func() bool { return b.tunnels.Open() == 1 })
	return b
}

func TestABuyerAsksItsSupplier(t *testing.T) {
	b := leased(t)
	_, lease := builders.Leased(t, "train")
	cases := map[string]struct {
		method, path, want string
	}{
		"a log":                 {http.MethodGet, logOfTrain + "?worker=1&tail=5", "GET /leases/" + lease.Name + "/log?worker=1&tail=5 "},
		"an output":             {http.MethodGet, access.OfJob(builders.Buyer, "train", access.Output), "GET /leases/" + lease.Name + "/output "},
		"the dashboard":         {http.MethodGet, access.OfJob(builders.Buyer, "train", access.Ray) + "/", "GET /leases/" + lease.Name + "/ray/ "},
		"a program's state":     {http.MethodGet, access.OfJob(builders.Buyer, "train", access.Ray) + "/api/jobs/a%2Fb?x=1", "GET /leases/" + lease.Name + "/ray/api/jobs/a%2Fb?x=1 "},
		"a program that begins": {http.MethodPost, access.OfJob(builders.Buyer, "train", access.Ray) + "/api/jobs/", "POST /leases/" + lease.Name + "/ray/api/jobs/ {}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var body io.Reader
			if tc.method == http.MethodPost {
				body = strings.NewReader("{}")
			}
			request := b.request(tc.method, tc.path, "buyer", body)
			for _, name := range []string{"X-Ray-Authorization", "Cookie", "X-Forwarded-For", "Proxy-Authorization", "Bourse-Upgrade"} {
				request.Header.Set(name, "a=secret")
			}
			response, err := b.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			text, err := io.ReadAll(response.Body)
			if diff := cmp.Diff(tc.want, string(text)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if response.Header.Get("Set-Cookie") != "" {
				t.Error("the buyer gets a cookie with Ray's token")
			}
		})
	}
	b.eventually("all are counted", func() bool { // after their readers have the whole answer
		return b.recorder.count("log ok") == 1 && b.recorder.count("output ok") == 1 && b.recorder.count("ray ok") == 3
	})
}

func TestWhoIsRefused(t *testing.T) {
	partOfTrain := access.OfPart(builders.Buyer, "train", 1, access.Log)
	proxied := access.OfJob(builders.Buyer, "train", access.Ray) + "/"
	cases := map[string]struct {
		method, path, token string
		change              func(b *bench)
		want                access.Reason
	}{
		"nobody":                                 {path: logOfTrain, want: access.Unauthenticated},
		"a token of nobody":                      {path: logOfTrain, token: "stranger", want: access.Unauthenticated},
		"another member":                         {path: logOfTrain, token: "other", want: access.Forbidden},
		"a supplier":                             {path: logOfTrain, token: "supplier", want: access.Forbidden},
		"who may read logs alone":                {path: proxied, token: "reader", want: access.Forbidden},
		"who may not delete":                     {method: http.MethodDelete, path: proxied, token: "buyer", want: access.Forbidden},
		"a method that is no verb":               {method: http.MethodOptions, path: proxied, token: "buyer", want: access.Malformed},
		"a tunnel of a buyer":                    {path: access.OfTunnel(builders.Supplier), token: "buyer", want: access.Forbidden},
		"a tunnel of another supplier":           {path: access.OfTunnel("rome-dc"), token: "supplier", want: access.Forbidden},
		"a tunnel without an upgrade":            {path: access.OfTunnel(builders.Supplier), token: "supplier", want: access.Malformed},
		"a job that is not there":                {path: access.OfJob(builders.Buyer, "none", access.Log), token: "buyer", want: access.JobUnknown},
		"a job of another that is not there too": {path: access.OfJob("team-b", "none", access.Log), token: "buyer", want: access.Forbidden},
		"a job without a lease": {path: logOfTrain, token: "buyer", want: access.NoLease, change: func(b *bench) {
			b.job(func(job *boursev1.ComputeJob) { job.Status.Lease = nil })
		}},
		"a part of a job without a lease": {path: partOfTrain, token: "buyer", want: access.NoLease, change: func(b *bench) {
			b.job(func(job *boursev1.ComputeJob) { job.Status.Lease = nil })
		}},
		"nobody, of a part":                     {path: partOfTrain, want: access.Unauthenticated},
		"another member, of a part":             {path: partOfTrain, token: "other", want: access.Forbidden},
		"who may read logs alone, of a part":    {path: access.OfPart(builders.Buyer, "train", 1, access.Ray) + "/", token: "reader", want: access.Forbidden},
		"who may not ask whether it has a part": {path: access.OfPart(builders.Buyer, "train", 9, access.Log), token: "other", want: access.Forbidden},
		"a part whose lease is gone": {path: partOfTrain, token: "buyer", want: access.LeaseUnknown, change: func(b *bench) {
			b.split("gone")
		}},
		"a part whose lease is another job's": {path: partOfTrain, token: "buyer", want: access.LeaseUnknown, change: func(b *bench) {
			_, lease := builders.Leased(b, "another")
			lease.Spec.Job.UID = "another"
			if err := b.hub.Create(b.Context(), lease); err != nil {
				b.Fatal(err)
			}
			b.split(lease.Name)
		}},
		"a lease that is gone": {path: logOfTrain, token: "buyer", want: access.LeaseUnknown, change: func(b *bench) {
			b.job(func(job *boursev1.ComputeJob) { job.Status.Lease.Name = "gone" })
		}},
		"a lease of an earlier job of that name": {path: logOfTrain, token: "buyer", want: access.LeaseUnknown, change: func(b *bench) {
			job, _ := builders.Leased(b, "train")
			b.hub.Read(job)
			if err := b.hub.Delete(b.Context(), job); err != nil {
				b.Fatal(err)
			}
			again, _ := builders.Leased(b, "train")
			again.UID = types.UID("another")
			status := again.Status
			if err := b.hub.Create(b.Context(), again); err != nil {
				b.Fatal(err)
			}
			again.Status = status
			b.hub.EditStatus(again)
		}},
		"a member that is suspended": {path: logOfTrain, token: "buyer", want: access.Forbidden, change: func(b *bench) {
			b.suspend(builders.Buyer)
		}},
		"an API server that is away": {path: logOfTrain, token: "buyer", want: access.Unavailable, change: func(b *bench) {
			b.reviewer.mu.Lock()
			defer b.reviewer.mu.Unlock()
			b.reviewer.fail = errors.New("away")
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job, lease := builders.Leased(t, "train")
			b := newBench(t, job, lease)
			if tc.change != nil {
				tc.change(b)
			}
			if tc.method == "" {
				tc.method = http.MethodGet
			}
			text, err := b.ask(tc.method, tc.path, tc.token)
			if !errors.Is(err, tc.want) {
				t.Errorf("got %q, %v, want %s", text, err, tc.want)
			}
		})
	}
}

// job changes the job's status.
func (b *bench) job(change func(*boursev1.ComputeJob)) {
	b.Helper()
	job, _ := builders.Leased(b, "train")
	b.hub.Read(job)
	change(job)
	b.hub.EditStatus(job)
}

func (b *bench) suspend(namespace string) {
	b.Helper()
	member := builders.Member(namespace)
	member.Spec.State = boursev1.MemberSuspended
	if err := b.hub.Create(b.Context(), member); err != nil {
		b.Fatal(err)
	}
}

func TestASupplierThatIsNotConnectedIsSaidToBeSo(t *testing.T) {
	job, lease := builders.Leased(t, "train")
	b := newBench(t, job, lease)
	if text, err := b.ask(http.MethodGet, logOfTrain, "buyer"); !errors.Is(err, access.NotConnected) || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestImpersonationIsRefused(t *testing.T) {
	b := leased(t)
	request := b.request(http.MethodGet, logOfTrain, "buyer", nil)
	request.Header.Set("Impersonate-User", "other")
	if _, err := b.send(request); !errors.Is(err, access.Malformed) {
		t.Errorf("got %v", err)
	}
}

func TestAReplicaThatWaitsSendsToAnother(t *testing.T) {
	b := leased(t)
	b.server.o.Leads = make(chan struct{})
	asked := b.reviewer.asked
	response, err := b.client.Do(b.request(http.MethodGet, logOfTrain, "buyer", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := access.RefusalOf(response); !errors.Is(err, access.Standby) || !response.Close || response.Header.Get("Retry-After") != "1" {
		t.Errorf("got %v, close %v, %v", err, response.Close, response.Header)
	}
	if b.reviewer.asked != asked {
		t.Error("it asked the API server in vain")
	}
}

func TestATunnelEndsWithTheRightToIt(t *testing.T) {
	b := leased(t)
	b.suspend(builders.Supplier)
	b.eventually("the tunnel is closed", func() bool { return b.tunnels.Open() == 0 && b.recorder.count("tunnel Forbidden") > 0 })
}

func TestOneThatAsksTooMuchIsToldToComeBack(t *testing.T) {
	b := newBench(t)
	var last error
	for i := range 3 * rates().BurstEach {
		if _, last = b.ask(http.MethodGet, logOfTrain, fmt.Sprint("guess ", i)); errors.Is(last, access.Busy) {
			break
		}
	}
	if !errors.Is(last, access.Busy) || b.reviewer.asked > 2*rates().BurstEach {
		t.Errorf("got %v after %d reviews", last, b.reviewer.asked)
	}
}

func TestWhatWasReviewedIsNotAskedAgainAtOnce(t *testing.T) {
	b := leased(t)
	asked := b.reviewer.asked
	for range 20 {
		if _, err := b.ask(http.MethodGet, logOfTrain, "buyer"); err != nil {
			t.Fatal(err)
		}
	}
	if more := b.reviewer.asked - asked; more > 4 {
		t.Errorf("20 requests were %d reviews", more)
	}
}
