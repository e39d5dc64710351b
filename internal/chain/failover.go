// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
)

// Failover returns a transport that sends every request to the endpoint that answered last, and to the next ones when it is down
// or overloaded. Requests of this package are safe to repeat: they read, or send bytes that can land only once.
func Failover(next http.RoundTripper, endpoints ...string) http.RoundTripper {
	return &failover{next: next, endpoints: endpoints}
}

type failover struct {
	next      http.RoundTripper
	endpoints []string
	current   atomic.Uint64
}

// RoundTrip tries each endpoint once. Its errors do not show an endpoint's URL, which may hold an access key.
func (f *failover) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		defer func() { _ = request.Body.Close() }() // each attempt reads a copy
	}
	start := f.current.Load()
	var problems []error
	for i := range uint64(len(f.endpoints)) {
		at := (start + i) % uint64(len(f.endpoints))
		response, err := f.try(request, f.endpoints[at])
		if err == nil && !overloaded(response.StatusCode) {
			return response, nil
		}
		f.current.CompareAndSwap(at, (at+1)%uint64(len(f.endpoints)))
		if err == nil && i+1 == uint64(len(f.endpoints)) {
			return response, nil
		}
		if err == nil {
			err = fmt.Errorf("status %d", response.StatusCode)
			_ = response.Body.Close() // another endpoint answers
		}
		problems = append(problems, fmt.Errorf("endpoint %d: %w", at+1, err))
		if request.Context().Err() != nil {
			break
		}
	}
	return nil, errors.Join(problems...)
}

func (f *failover) try(request *http.Request, endpoint string) (*http.Response, error) {
	address, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	attempt := request.Clone(request.Context())
	attempt.URL, attempt.Host = address, ""
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("repeat request: %w", err)
		}
		attempt.Body = io.NopCloser(body)
	}
	return f.next.RoundTrip(attempt)
}

// overloaded are the statuses of an endpoint that may do better elsewhere or later.
func overloaded(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}
