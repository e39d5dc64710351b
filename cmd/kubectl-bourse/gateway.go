// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/listing"
)

// A replica of the gateway that waits for the lead says so; the next connection may lead to the one that has it.
const (
	standbyTries = 20
	standbyWait  = 250 * time.Millisecond
	// continueWithin is how long a body waits until the gateway wants it.
	continueWithin = 10 * time.Second
)

// gatewayFlags say how the market's gateway is reached, beside the flags of the hub.
type gatewayFlags struct {
	hub       *hubFlags
	token     string
	url       string
	authority string
	part      *int // nil: the first
}

func (f *gatewayFlags) add(to *pflag.FlagSet) {
	to.StringVar(&f.token, "token", "", "bearer token for the gateway (default that of the kubeconfig)")
	to.StringVar(&f.url, "gateway", "", "URL of the market's gateway (default that of the Market)")
	to.StringVar(&f.authority, "gateway-ca", "", "file with the certificates that the gateway is known by (default those of the Market, or the system's)")
	to.Func("part", "number of a part of a job that is split, from 0 (default 0)", func(text string) error {
		part, err := access.ReadPart(text)
		f.part = &part
		return err
	})
}

// jobView is a job, and the way to what runs on the lease of one of its parts.
type jobView struct {
	job  *boursev1.ComputeJob
	part int
	base string
	http http.RoundTripper
}

// open finds the job and the gateway. Of a job that is split, it says which part is shown when none was named.
func (f *gatewayFlags) open(ctx context.Context, stderr io.Writer, name string) (*jobView, error) {
	config, namespace, err := f.hub.load()
	if err != nil {
		return nil, err
	}
	hub, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return nil, fmt.Errorf("reach hub: %w", err)
	}
	job, err := jobOf(ctx, hub, namespace, name)
	if err != nil {
		return nil, err
	}
	gateway, err := f.gateway(ctx, hub)
	if err != nil {
		return nil, err
	}
	base, err := gateway.Base()
	if err != nil {
		return nil, err
	}
	transport, err := f.transport(config, gateway)
	if err != nil {
		return nil, err
	}
	view := &jobView{job: job, base: base, http: transport}
	if f.part != nil {
		view.part = *f.part
	} else if parts := len(listing.Parts(job)); parts > 1 {
		fmt.Fprintf(stderr, "part 0 of %d; name another one with --part\n", parts)
	}
	return view, nil
}

// jobOf is the hub's job of that name, or else the one that stands for a job of the buyer's own cluster of that name. Only the latter takes
// the right to list.
func jobOf(ctx context.Context, hub client.Reader, namespace, name string) (*boursev1.ComputeJob, error) {
	if !strings.Contains(name, "/") {
		job := &boursev1.ComputeJob{}
		err := hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, job)
		if err == nil {
			return job, nil
		}
		if apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("get job: %w; another namespace is named with --namespace", err)
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get job: %w", err)
		}
	}
	var jobs boursev1.ComputeJobList
	if err := hub.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("look for what stands for job %s: %w", name, err)
	}
	return findJob(jobs.Items, namespace, name)
}

// gateway is that of the flags, or of the market that serves.
func (f *gatewayFlags) gateway(ctx context.Context, hub client.Reader) (access.Gateway, error) {
	found := access.Gateway{URL: f.url}
	if f.url == "" {
		var err error
		if found, err = published(ctx, hub); err != nil {
			return found, err
		}
	}
	if f.authority != "" {
		content, err := os.ReadFile(f.authority)
		if err != nil {
			return found, fmt.Errorf("--gateway-ca: %w", err)
		}
		found.Authorities = string(content)
	}
	return found, nil
}

// published is the gateway of the market that serves.
func published(ctx context.Context, hub client.Reader) (access.Gateway, error) {
	var markets boursev1.MarketList
	if err := hub.List(ctx, &markets); apierrors.IsForbidden(err) {
		return access.Gateway{}, fmt.Errorf("list markets: %w; ask the market's administrator for its gateway, and give it with --gateway", err)
	} else if err != nil {
		return access.Gateway{}, fmt.Errorf("list markets: %w", err)
	}
	serving := contract.Serving(markets.Items)
	if serving == nil {
		return access.Gateway{}, errors.New("no market is ready: kubectl get markets -o wide says why; give its gateway with --gateway if you know it")
	}
	if serving.Spec.Gateway == nil {
		return access.Gateway{}, fmt.Errorf("market %s has no gateway: its administrator can open one, and name it in spec.gateway", serving.Name)
	}
	return access.Gateway{URL: serving.Spec.Gateway.URL, Authorities: serving.Spec.Gateway.CABundle}, nil
}

// transport puts the kubeconfig's token on requests, whatever it gets it from. The gateway is never shown a client certificate.
func (f *gatewayFlags) transport(config *rest.Config, gateway access.Gateway) (http.RoundTripper, error) {
	secured := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if gateway.Authorities != "" {
		secured.RootCAs = x509.NewCertPool()
		if !secured.RootCAs.AppendCertsFromPEM([]byte(gateway.Authorities)) {
			return nil, errors.New("there is no certificate among those that the gateway is known by")
		}
	}
	if f.token != "" {
		config = &rest.Config{BearerToken: f.token}
	}
	if config.BearerToken == "" && config.BearerTokenFile == "" && config.ExecProvider == nil && config.AuthProvider == nil {
		return nil, errors.New(
			"your kubeconfig has no token, and the gateway knows accounts by nothing else: give one with --token, such as that of kubectl create token ACCOUNT")
	}
	authorized, err := rest.HTTPWrappersForConfig(config, &http.Transport{
		TLSClientConfig: secured, Proxy: http.ProxyFromEnvironment, ExpectContinueTimeout: continueWithin, IdleConnTimeout: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig's token: %w", err)
	}
	return &persistent{next: authorized}, nil
}

// url is where the gateway answers for something of the job. Every gateway knows the address of the first part.
func (v *jobView) url(what string, query url.Values) string {
	path := access.OfJob(v.job.Namespace, v.job.Name, what)
	if v.part > 0 {
		path = access.OfPart(v.job.Namespace, v.job.Name, v.part, what)
	}
	address := v.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return address
}

// get asks for something of the job. What is refused is a *access.Refusal.
func (v *jobView) get(ctx context.Context, what string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url(what, query), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	response, err := v.http.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	if err := access.RefusalOf(response); err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("the gateway answers %s", response.Status), response.Body.Close())
	}
	return response.Body, nil
}

// persistent asks again while a replica answers that another one serves. A body is not sent before the gateway wants it.
type persistent struct{ next http.RoundTripper }

// RoundTrip sends the request until a replica serves it.
func (p *persistent) RoundTrip(request *http.Request) (*http.Response, error) {
	body := &unread{}
	if request.Body != nil && request.Body != http.NoBody {
		body.ReadCloser = request.Body
		request = request.Clone(request.Context())
		request.Body = body
		request.Header.Set("Expect", "100-continue")
		defer func() { _ = body.ReadCloser.Close() }() // it was only read
	}
	for tries := 1; ; tries++ {
		response, err := p.next.RoundTrip(request)
		if err != nil || access.ReasonOf(response.Header) != access.Standby || body.begun || tries == standbyTries {
			return response, err
		}
		if err := response.Body.Close(); err != nil {
			return nil, err
		}
		timer := time.NewTimer(standbyWait)
		select {
		case <-request.Context().Done():
			timer.Stop()
			return nil, request.Context().Err()
		case <-timer.C:
		}
	}
}

// unread is a body that knows whether it was begun.
type unread struct {
	io.ReadCloser

	begun bool
}

// Read begins it.
func (u *unread) Read(into []byte) (int, error) {
	u.begun = true
	return u.ReadCloser.Read(into)
}

// Close leaves it open for another try.
func (*unread) Close() error { return nil }
