// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
)

const (
	// maxAnswer is far above what a token and a bundle of certificates take.
	maxAnswer = 256 << 10
	// askWithin is how long one request may take.
	askWithin = 20 * time.Second
)

// ErrHub says that a hub cannot be joined as it is named, or that it answers as no hub does.
var ErrHub = errors.New("unusable hub")

// Client asks one hub.
type Client struct {
	hub  string
	http *http.Client
}

// NewClient returns a client of the join server at the URL, which is known by certificates of these authorities (PEM), or by those of the
// system if there are none. It connects to nothing.
func NewClient(url string, authorities []byte) (*Client, error) {
	hub, err := join.HubOf(url)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%w: there is no certificate among its authorities", ErrHub)
		}
	}
	return &Client{hub: hub, http: &http.Client{
		Timeout: askWithin,
		// One connection, so that one replica of the hub sees both the challenge that it makes and the claim that answers it.
		Transport: &http.Transport{
			TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, MaxConnsPerHost: 1, IdleConnTimeout: 20 * time.Second,
		},
		// A claim goes where it was meant to go, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Hub is what claims for this hub must say.
func (c *Client) Hub() string { return c.hub }

// Challenge asks for a challenge for the wallet, and returns it with the network that the hub settles on.
func (c *Client) Challenge(ctx context.Context, wallet chain.Address) (join.Challenge, chain.Hash, error) {
	var answer challengeAnswer
	if err := c.ask(ctx, challengePath, challengeRequest{Wallet: wallet.String()}, &answer); err != nil {
		return join.Challenge{}, chain.Hash{}, err
	}
	if answer.Hub != c.hub {
		return join.Challenge{}, chain.Hash{}, fmt.Errorf(
			"%w: it calls itself %.140q, not %s; nothing is signed for a hub that passes on another's challenge", ErrHub, answer.Hub, c.hub)
	}
	network, err := chain.ParseAddress(answer.Network) // a hash is written as addresses are
	if err != nil {
		return join.Challenge{}, chain.Hash{}, fmt.Errorf("%w: its network: %w", ErrHub, err)
	}
	challenge, err := join.ParseChallenge(answer.Challenge)
	if err != nil {
		return join.Challenge{}, chain.Hash{}, err
	}
	return challenge, chain.Hash(network), nil
}

// Send sends a claim and returns what it gives. What the hub refuses is a *join.Refusal.
func (c *Client) Send(ctx context.Context, kind join.Kind, message []byte, signature chain.Signature) (join.Access, error) {
	var answer accessAnswer
	if err := c.ask(ctx, pathOf(kind), claimRequest{Message: message, Signature: signature[:]}, &answer); err != nil {
		return join.Access{}, err
	}
	if answer.Namespace == "" || answer.Token == "" || answer.Expires.IsZero() {
		return join.Access{}, fmt.Errorf("%w: its answer lacks the namespace or the token", ErrHub)
	}
	if join.CheckServer(answer.Server) != nil { // the hub's mistake, and no refusal of its own
		return join.Access{}, fmt.Errorf("%w: its API server is %.140q, and tokens are sent to an https:// URL only", ErrHub, answer.Server)
	}
	return join.Access(answer), nil
}

// Leave sends a claim to leave, and returns how far the member is. What the hub refuses is a *join.Refusal; NotMember says that it has left.
func (c *Client) Leave(ctx context.Context, message []byte, signature chain.Signature) (join.Departure, error) {
	var answer departureAnswer
	if err := c.ask(ctx, leavePath, claimRequest{Message: message, Signature: signature[:]}, &answer); err != nil {
		return join.Departure{}, err
	}
	if answer.Namespace == "" || answer.Supplied < 0 || answer.Bought < 0 {
		return join.Departure{}, fmt.Errorf("%w: its answer lacks the namespace, or counts below zero", ErrHub)
	}
	return join.Departure(answer), nil
}

func (c *Client) ask(ctx context.Context, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.hub+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask hub: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the hub's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return refused(response.Status, content)
	}
	if len(content) > maxAnswer || json.Unmarshal(content, answer) != nil {
		return fmt.Errorf("%w: its answer cannot be read", ErrHub)
	}
	return nil
}

// refused is what an answer other than 200 means.
func refused(status string, content []byte) error {
	var answer refusalAnswer
	if json.Unmarshal(content, &answer) != nil || answer.Reason == "" {
		return fmt.Errorf("%w: it answers %.64q", ErrHub, status)
	}
	return &join.Refusal{Reason: answer.Reason, Detail: answer.Message}
}
