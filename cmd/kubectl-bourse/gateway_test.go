// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/test/builders"
)

// far is a hub with one job and one market, and the market's gateway.
type far struct {
	*testing.T

	api, gateway *httptest.Server
	job          *boursev1.ComputeJob
	copies       []boursev1.ComputeJob // stand for jobs of the buyer's own cluster
	market       *boursev1.Market

	mu      sync.Mutex
	answer  http.HandlerFunc
	standby int // how many requests are told that another replica serves
}

func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{T: t, job: builders.Job("train"), market: builders.Market()}
	f.job.Spec.Ray.Entrypoint = "python /bourse/program.py"
	f.gateway = httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		f.mu.Lock()
		f.standby--
		standby, answer := f.standby >= 0, f.answer
		f.mu.Unlock()
		switch {
		case standby:
			_ = (&access.Refusal{Reason: access.Standby, Detail: "Another replica serves"}).Write(writer)
		case request.Header.Get("Authorization") != "Bearer the token":
			_ = (&access.Refusal{Reason: access.Unauthenticated, Detail: "The hub does not know the token"}).Write(writer)
		default:
			answer(writer, request)
		}
	}))
	t.Cleanup(f.gateway.Close)
	f.market.Spec.Gateway = &boursev1.MarketGateway{URL: f.gateway.URL, CABundle: string(f.authority())}
	f.answers(func(writer http.ResponseWriter, request *http.Request) { fmt.Fprintln(writer, request.URL) })
	f.api = httptest.NewTLSServer(f.hub())
	t.Cleanup(f.api.Close)
	return f
}

func (f *far) authority() []byte {
	return certificate(f.gateway)
}

func certificate(of *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: of.Certificate().Raw})
}

func (f *far) answers(answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// hub answers as an API server does that has these objects.
func (f *far) hub() http.Handler {
	group := metav1.APIGroup{Name: "bourse.dev", Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "bourse.dev/v1alpha1", Version: "v1alpha1"}}}
	objects := map[string]func() any{
		"/api":  func() any { return metav1.APIVersions{Versions: []string{"v1"}} },
		"/apis": func() any { return metav1.APIGroupList{Groups: []metav1.APIGroup{group}} },
		"/apis/bourse.dev/v1alpha1": func() any {
			return metav1.APIResourceList{GroupVersion: "bourse.dev/v1alpha1", APIResources: []metav1.APIResource{
				{Name: "computejobs", Kind: "ComputeJob", Namespaced: true}, {Name: "markets", Kind: "Market"},
			}}
		},
		"/apis/bourse.dev/v1alpha1/markets": func() any {
			return boursev1.MarketList{TypeMeta: metav1.TypeMeta{APIVersion: "bourse.dev/v1alpha1", Kind: "MarketList"}, Items: []boursev1.Market{*f.market}}
		},
		"/apis/bourse.dev/v1alpha1/namespaces/team-a/computejobs": func() any {
			return boursev1.ComputeJobList{
				TypeMeta: metav1.TypeMeta{APIVersion: "bourse.dev/v1alpha1", Kind: "ComputeJobList"}, Items: append([]boursev1.ComputeJob{*f.job}, f.copies...),
			}
		},
		"/apis/bourse.dev/v1alpha1/namespaces/team-a/computejobs/train": func() any {
			f.job.TypeMeta = metav1.TypeMeta{APIVersion: "bourse.dev/v1alpha1", Kind: "ComputeJob"}
			return f.job
		},
	}
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		object, found := objects[request.URL.Path]
		if !found {
			writer.WriteHeader(http.StatusNotFound)
			object = func() any {
				return metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
			}
		}
		if err := json.NewEncoder(writer).Encode(object()); err != nil {
			f.Error(err)
		}
	})
}

// kubeconfig writes one with the user, and returns its path.
func (f *far) kubeconfig(user *clientcmdapi.AuthInfo) string {
	f.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["hub"] = &clientcmdapi.Cluster{Server: f.api.URL, CertificateAuthorityData: certificate(f.api)}
	config.AuthInfos["me"] = user
	config.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "me", Namespace: "team-a"}
	config.CurrentContext = "hub"
	path := filepath.Join(f.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		f.Fatal(err)
	}
	return path
}

func (f *far) run(args ...string) (code int, stdout, stderr string) {
	f.Helper()
	return ask(f.T, append(args, "--kubeconfig", f.kubeconfig(&clientcmdapi.AuthInfo{Token: "the token"}))...)
}

func TestLogsShowTheProgramsOutputOrAContainers(t *testing.T) {
	below := "/v1/namespaces/team-a/computejobs/train/"
	cases := map[string]struct {
		args        []string
		interactive bool
		want        string
	}{
		"a program":           {want: "output"},
		"a program, followed": {args: []string{"-f", "--tail", "5"}, want: "output?follow=true&tail=5"},
		"a head":              {args: []string{"--head", "--since", "10m"}, want: "log?since=10m0s"},
		"a worker":            {args: []string{"--worker", "1"}, want: "log?worker=1"},
		"a cluster":           {interactive: true, want: "log"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			f.standby = 2
			if tc.interactive {
				f.job.Spec.Ray.Entrypoint = ""
			}
			code, stdout, stderr := f.run(append([]string{"logs", "train"}, tc.args...)...)
			if code != 0 || stdout != below+tc.want+"\n" || stderr != "" {
				t.Errorf("code %d, %q and %q, want %s", code, stdout, stderr, tc.want)
			}
		})
	}
}

// standFor adds a copy of a job of the buyer's own cluster.
func (f *far) standFor(namespace, name, as string) {
	f.Helper()
	twin := builders.Job(as)
	twin.Annotations = map[string]string{boursev1.AnnotationOriginNamespace: namespace, boursev1.AnnotationOriginName: name}
	f.copies = append(f.copies, *twin)
}

func TestAMirroredJobIsNamedAsInItsOwnCluster(t *testing.T) {
	cases := map[string]struct {
		name, want, refused string
	}{
		"its name":                 {name: "tune", want: "ml-tune-4f5e6d7c8b"},
		"its namespace and name":   {name: "ml/tune", want: "ml-tune-4f5e6d7c8b"},
		"a name that the hub has":  {name: "train", want: "train"},
		"its namespace beside it":  {name: "ml/train", want: "ml-train-0a1b2c3d4e"},
		"a name that two have":     {name: "eval", refused: "there are several jobs eval: name one as"},
		"one of two":               {name: "lab/eval", want: "lab-eval-2b3c4d5e6f"},
		"another namespace's":      {name: "lab/tune", refused: "namespace team-a has no job lab/tune"},
		"what is no job's name":    {name: "ml/tune/0", refused: "namespace team-a has no job ml/tune/0"},
		"a part of a name is none": {name: "tun", refused: "namespace team-a has no job tun"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			f.standFor("ml", "tune", "ml-tune-4f5e6d7c8b")
			f.standFor("ml", "train", "ml-train-0a1b2c3d4e")
			f.standFor("ml", "eval", "ml-eval-1a2b3c4d5e")
			f.standFor("lab", "eval", "lab-eval-2b3c4d5e6f")
			code, stdout, stderr := f.run("logs", tc.name, "--head")
			if tc.refused != "" {
				if code != exitError || stdout != "" || !strings.Contains(stderr, tc.refused) {
					t.Errorf("code %d, %q and %q, want %q", code, stdout, stderr, tc.refused)
				}
				return
			}
			if want := access.OfJob("team-a", tc.want, access.Log) + "\n"; code != 0 || stdout != want || stderr != "" {
				t.Errorf("code %d, %q and %q, want %q", code, stdout, stderr, want)
			}
		})
	}
}

func TestOnePartOfAJobIsShown(t *testing.T) {
	cases := map[string]struct {
		args          []string
		parts         int
		want, wantErr string
	}{
		"none named":             {parts: 3, want: "output", wantErr: "part 0 of 3; name another one with --part\n"},
		"none named, a worker's": {args: []string{"--worker", "1"}, parts: 2, want: "log?worker=1", wantErr: "part 0 of 2; name another one with --part\n"},
		"the first":              {args: []string{"--part", "0"}, parts: 3, want: "output"},
		"the last":               {args: []string{"--part", "2", "--worker", "1"}, parts: 3, want: "parts/2/log?worker=1"},
		"of a job that is whole": {want: "output"},
		"part 0 of it":           {args: []string{"--part", "0"}, want: "output"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			if tc.parts > 0 {
				job, _ := builders.LeasedInParts(t, "train", tc.parts)
				f.job.Status = job.Status
			}
			code, stdout, stderr := f.run(append([]string{"logs", "train"}, tc.args...)...)
			if want := access.OfJob("team-a", "train", tc.want) + "\n"; code != 0 || stdout != want || stderr != tc.wantErr {
				t.Errorf("code %d, %q and %q, want %q and %q", code, stdout, stderr, want, tc.wantErr)
			}
		})
	}
}

func TestWhyThereIsNoLogIsSaid(t *testing.T) {
	refuse := func(reason access.Reason, detail string) http.HandlerFunc {
		return func(writer http.ResponseWriter, _ *http.Request) {
			_ = (&access.Refusal{Reason: reason, Detail: detail}).Write(writer)
		}
	}
	cases := map[string]struct {
		args   []string
		user   clientcmdapi.AuthInfo
		change func(f *far)
		want   string
	}{
		"a job that is not there": {args: []string{"logs", "none"}, want: "namespace team-a has no job none"},
		"a worker below zero":     {args: []string{"logs", "train", "--worker", "-2"}, want: "--worker must be a number from 0"},
		"fewer lines than none":   {args: []string{"logs", "train", "--tail", "-5"}, want: "--tail must be a number of lines from 0"},
		"a time that is to come":  {args: []string{"logs", "train", "--head", "--since", "-10m"}, want: "--since must be a time such as 10m"},
		"words that steer":        {want: "Busy: Too much\uFFFD[2J", change: func(f *far) { f.answers(refuse(access.Busy, "Too much\x1b[2J")) }},
		"no gateway":              {change: func(f *far) { f.market.Spec.Gateway = nil }, want: "market main has no gateway: its administrator can open one"},
		"no market":               {change: func(f *far) { f.market.Status.Conditions = nil }, want: "no market is ready"},
		"a certificate alone":     {user: clientcmdapi.AuthInfo{Username: "me", Password: "word"}, want: "has no token"},
		"a wrong token":           {args: []string{"logs", "train", "--token", "another"}, want: "Unauthenticated: The hub does not know the token"},
		"a gateway of others": {args: []string{"logs", "train"}, want: "ask the gateway", change: func(f *far) {
			f.market.Spec.Gateway.CABundle = ""
		}},
		"a gateway by HTTP":          {args: []string{"logs", "train", "--gateway", "http://gateway.example"}, want: "must be like https://"},
		"times of a program":         {args: []string{"logs", "train", "--since", "1m"}, want: "--since is for a container's log"},
		"a part before the first":    {args: []string{"logs", "train", "--part", "-1"}, want: `"--part" flag: Malformed: part must be a number from 0`},
		"a dashboard's part by name": {args: []string{"dashboard", "train", "--part", "last"}, want: `"--part" flag: Malformed: part must be a number from 0`},
		"a part that the job does not have": {args: []string{"logs", "train", "--part", "4"}, want: "PartUnknown: Job train has 3 parts", change: func(f *far) {
			f.answers(refuse(access.PartUnknown, "Job train has 3 parts"))
		}},
		"a head and a worker": {args: []string{"logs", "train", "--head", "--worker", "1"}, want: "[worker head]"},
		"no supplier": {want: "NotConnected: It is away; its lease goes on", change: func(f *far) {
			f.answers(refuse(access.NotConnected, "It is away; its lease goes on"))
		}},
		"no replica that serves": {want: "Standby: Another replica serves", change: func(f *far) { f.standby = standbyTries }},
		"something else": {want: "the gateway answers 502", change: func(f *far) {
			f.answers(func(writer http.ResponseWriter, _ *http.Request) { writer.WriteHeader(http.StatusBadGateway) })
		}},
		"a log that breaks off": {want: "the log broke off, and the job may go on", change: func(f *far) {
			f.answers(func(writer http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(writer).Flush()
				panic(http.ErrAbortHandler)
			})
		}},
		"a dashboard that is away": {args: []string{"dashboard", "train"}, want: "Unreachable: It does not answer", change: func(f *far) {
			f.answers(refuse(access.Unreachable, "It does not answer"))
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			if tc.change != nil {
				tc.change(f)
			}
			if tc.args == nil {
				tc.args = []string{"logs", "train"}
			}
			if tc.user.Username == "" {
				tc.user.Token = "the token"
			}
			code, stdout, stderr := ask(t, append(tc.args, "--kubeconfig", f.kubeconfig(&tc.user))...)
			if code != exitError || !strings.Contains(stderr, tc.want) || stdout != "" {
				t.Errorf("code %d, %q and %q, want %q", code, stdout, stderr, tc.want)
			}
		})
	}
}

func TestATokenAndAGatewayCanBeGiven(t *testing.T) {
	f := newFar(t)
	f.market.Spec.Gateway = nil
	authority := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authority, f.authority(), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := ask(t, "logs", "train", "--kubeconfig", f.kubeconfig(&clientcmdapi.AuthInfo{Username: "me", Password: "word"}),
		"--token", "the token", "--gateway", f.gateway.URL, "--gateway-ca", authority)
	if code != 0 || !strings.HasSuffix(stdout, "/train/output\n") {
		t.Errorf("code %d, %q and %q", code, stdout, stderr)
	}
}

// A kubeconfig's plugin is asked for the token, as kubectl does.
func TestTheCommandItselfKeepsNobodyWaiting(t *testing.T) {
	flags := hubFlags{kubeconfig: newFar(t).kubeconfig(&clientcmdapi.AuthInfo{Token: "the token"})}
	config, namespace, err := flags.load()
	if err != nil || config.QPS >= 0 || namespace != "team-a" {
		t.Errorf("%v, namespace %s, %g questions a second", err, namespace, config.QPS)
	}
}

func TestATokenOfAPluginIsUsed(t *testing.T) {
	f := newFar(t)
	plugin := &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode, Command: "sh",
		Args: []string{"-c", `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"the token"}}'`},
	}}
	if code, stdout, stderr := ask(t, "logs", "train", "--kubeconfig", f.kubeconfig(plugin)); code != 0 || stdout == "" {
		t.Errorf("code %d, %q and %q", code, stdout, stderr)
	}
}

// printed is what a command prints while it runs.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *printed) Write(more []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(more)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func TestADashboardIsServedToThisMachineAlone(t *testing.T) {
	f := newFar(t)
	f.standFor("ml", "tune", "ml-tune-4f5e6d7c8b")
	job, _ := builders.LeasedInParts(t, "ml-tune-4f5e6d7c8b", 2)
	f.copies[0].Status = job.Status
	f.answers(func(writer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		fmt.Fprint(writer, request.Method, " ", request.URL, " ", string(body), request.Header.Get("Cookie"))
		if err != nil {
			f.Error(err)
		}
	})
	ctx, end := context.WithCancel(t.Context())
	out, ended := &printed{}, make(chan int, 1)
	config := f.kubeconfig(&clientcmdapi.AuthInfo{Token: "the token"})
	go func() {
		ended <- execute(ctx, []string{"dashboard", "ml/tune", "--part", "1", "--port", "0", "--kubeconfig", config}, out, out, time.Now)
	}()
	address := ""
	for deadline := time.Now().Add(10 * time.Second); address == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		address = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(out.String())
	}
	below := "/v1/namespaces/team-a/computejobs/ml-tune-4f5e6d7c8b/parts/1/ray"
	cases := map[string]struct {
		method, path, body string
		header             map[string]string
		standby            int
		code               int
		want               string
	}{
		"a page":                       {method: "GET", path: "/", code: 200, want: "GET " + below + "/ "},
		"a program":                    {method: "POST", path: "/api/jobs/?x=%2F", body: "{}", code: 200, want: "POST " + below + "/api/jobs/?x=%2F {}"},
		"a program, at other replicas": {method: "POST", path: "/api/jobs/", body: "{}", standby: 3, code: 200, want: "POST " + below + "/api/jobs/ {}"},
		"a browser's own cookie":       {method: "GET", path: "/", header: map[string]string{"Cookie": "a=b"}, code: 200, want: "GET " + below + "/ "},
		"the page itself":              {method: "POST", path: "/", header: map[string]string{"Origin": "http://" + address}, code: 200, want: "POST " + below + "/ "},
		"another page":                 {method: "GET", path: "/", header: map[string]string{"Origin": "https://evil.example"}, code: 403},
		"another page's form":          {method: "POST", path: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site"}, code: 403},
		"another page's picture":       {method: "GET", path: "/api/actors/kill", header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, code: 403},
		"another page's frame":         {method: "GET", path: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, code: 403},
		"another page's window":        {method: "GET", path: "/api/actors/kill", header: map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"}, code: 403},
		"another page's link":          {method: "GET", path: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, code: 200, want: "GET " + below + "/ "},
		"the page's own picture":       {method: "GET", path: "/a.png", header: map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"}, code: 200, want: "GET " + below + "/a.png "},
		"another name":                 {method: "GET", path: "/", header: map[string]string{"Host": "evil.example"}, code: 403},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f.mu.Lock()
			f.standby = tc.standby
			f.mu.Unlock()
			request, err := http.NewRequestWithContext(ctx, tc.method, "http://"+address+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range tc.header {
				request.Header.Set(name, value)
			}
			request.Host = tc.header["Host"]
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if text, err := io.ReadAll(response.Body); response.StatusCode != tc.code || err != nil || tc.code == 200 && string(text) != tc.want {
				t.Errorf("got %s, %q, %v, want %d, %q", response.Status, text, err, tc.code, tc.want)
			}
		})
	}
	end()
	if code := <-ended; code != 0 {
		t.Errorf("code %d: %s", code, out)
	}
}
