// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	pollEvery   = 50 * time.Millisecond
	pollTimeout = 2 * time.Second
)

// ServingPath answers 200 when the API server serves.
const ServingPath = "/readyz"

// UsablePath answers 200 when pods can be made: the controllers have made the default service account.
const UsablePath = "/api/v1/namespaces/default/serviceaccounts/default"

// Await asks the API server for path, as administrator, until it answers 200.
// It ends early when ctx does, or with what stopped reports.
func (p *Plane) Await(ctx context.Context, path string, stopped <-chan error) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	last := errors.New("not asked")
	for {
		if last = get(ctx, client, p.URL()+path); last == nil {
			return nil
		}
		select {
		case err := <-stopped:
			return err
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w (last: %w)", path, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

func (p *Plane) client() (*http.Client, error) {
	admin, err := tls.LoadX509KeyPair(p.ca.Path("admin.crt"), p.ca.Path("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("load administrator: %w", err)
	}
	return &http.Client{
		Timeout: pollTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			RootCAs:      p.ca.Pool(),
			Certificates: []tls.Certificate{admin},
		}},
	}, nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	defer response.Body.Close() //nolint:errcheck // Nothing was written, so closing has nothing to lose.
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, response.Status)
	}
	return nil
}
