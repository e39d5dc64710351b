// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
)

const (
	// maxAnswer is far above what one signature takes.
	maxAnswer = 4096
	// maxToken is far above what a bearer token takes.
	maxToken = 8192
	// DefaultTimeout is how long a remote signer has for one signature.
	DefaultTimeout = 10 * time.Second
)

// ErrRemote says that a remote signer cannot be used as it is configured; its text says why and never what is in a file.
var ErrRemote = errors.New("unusable remote signer")

// RemoteOptions say where a remote signer is and how it knows us. Files are read again when they are used, so that they can be renewed.
type RemoteOptions struct {
	URL         string        // https, or http on this machine
	Wallet      chain.Address // whose signatures are accepted
	Timeout     time.Duration // for one signature; default: DefaultTimeout
	CA          string        // file with the certificates to trust; default: the system's
	Certificate string        // file with our certificate, and its key
	Key         string
	Token       string // file with a bearer token
}

// Remote is a wallet whose key is elsewhere: it posts each message and accepts nothing but the wallet's own signature over it. It
// never logs, and its errors never show what was sent or received.
type Remote struct {
	wallet  chain.Address
	url     string
	token   string // a file
	timeout time.Duration
	client  *http.Client
}

// remoteRequest and remoteAnswer are the protocol's bodies, described in docs/remote-signer.md.
type remoteRequest struct {
	Wallet  string `json:"wallet"`
	Message []byte `json:"message"` // base64
}

type remoteAnswer struct {
	Signature string `json:"signature"` // base58
}

// NewRemote checks the options and reads the files once, so that a mistake shows at the start. It connects to nothing.
func NewRemote(o RemoteOptions) (*Remote, error) {
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	if o.Wallet.IsZero() {
		return nil, fmt.Errorf("%w: the wallet's address is missing", ErrRemote)
	}
	config, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	if o.Token != "" {
		if _, err := readToken(o.Token); err != nil {
			return nil, err
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return &Remote{
		wallet: o.Wallet, url: o.URL, token: o.Token, timeout: o.Timeout,
		client: &http.Client{
			Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute},
			// A message goes where the administrator said, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// checkURL refuses an address that would send messages in the clear, or that hides a secret where others can see it.
func checkURL(text string) error {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" {
		return fmt.Errorf("%w: the URL must be like https://signer.example/v1/sign, without a user or a query", ErrRemote)
	}
	if address.Scheme == "https" || address.Scheme == "http" && loopback(address.Hostname()) {
		return nil
	}
	return fmt.Errorf("%w: the URL must begin with https://, or with http:// for a signer on this machine", ErrRemote)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func tlsConfig(o RemoteOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		content, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%w: %s holds no certificate", ErrRemote, o.CA)
		}
	}
	if (o.Certificate == "") != (o.Key == "") {
		return nil, fmt.Errorf("%w: a client certificate needs its key, and the key its certificate", ErrRemote)
	}
	if o.Certificate == "" {
		return config, nil
	}
	if _, err := clientCertificate(o); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return clientCertificate(o) }
	return config, nil
}

func clientCertificate(o RemoteOptions) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	if err != nil { // what the parser says is about the content
		return nil, fmt.Errorf("%w: %s and %s are not a certificate and its key", ErrRemote, o.Certificate, o.Key)
	}
	return &pair, nil
}

// readToken reads a bearer token. Its errors never quote the content.
func readToken(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the administrator names the file
	if err != nil {
		return "", fmt.Errorf("open token file: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	token := strings.TrimSpace(string(content))
	strange := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, strange) {
		return "", fmt.Errorf("%w: %s does not hold one bearer token", ErrRemote, path)
	}
	return token, nil
}

// PublicKey returns the wallet's address.
func (r *Remote) PublicKey() chain.Address { return r.wallet }

// Sign asks for a signature. What the signer does not give is a *Refusal; only the end of ctx and an unreadable token are other errors.
func (r *Remote) Sign(ctx context.Context, message []byte) (chain.Signature, error) {
	within, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	request, err := r.request(within, message)
	if err != nil {
		return chain.Signature{}, fmt.Errorf("ask remote signer: %w", err)
	}
	answer, err := r.post(request)
	if ended := ctx.Err(); ended != nil {
		return chain.Signature{}, fmt.Errorf("ask remote signer: %w", ended)
	}
	if err != nil {
		return chain.Signature{}, err
	}
	signature, err := chain.ParseSignature(answer.Signature)
	if err != nil || !ed25519.Verify(r.wallet[:], message, signature[:]) {
		return chain.Signature{}, refuse(SignerRefused,
			"The remote signer answered with something else than a signature of %s over the message; give it that wallet's key", r.wallet)
	}
	return signature, nil
}

func (r *Remote) request(ctx context.Context, message []byte) (*http.Request, error) {
	body, err := json.Marshal(remoteRequest{Wallet: r.wallet.String(), Message: message})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the URL cannot be requested", ErrRemote)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if r.token != "" {
		token, err := readToken(r.token)
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return request, nil
}

// post sends the request and reads the answer. Its errors name neither the URL's path nor any content.
func (r *Remote) post(request *http.Request) (remoteAnswer, error) {
	response, err := r.client.Do(request)
	if err != nil {
		return remoteAnswer{}, refuse(SignerUnavailable, "The remote signer does not answer (%s); start it, or correct its URL and certificates", cause(err))
	}
	defer func() { _ = response.Body.Close() }() // what matters was read
	switch code := response.StatusCode; {
	case code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return remoteAnswer{}, refuse(SignerUnavailable, "The remote signer cannot sign now (HTTP status %d); its own log says why", code)
	case code != http.StatusOK:
		return remoteAnswer{}, refuse(SignerRefused, "The remote signer refuses to sign (HTTP status %d); its own log says why", code)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return remoteAnswer{}, refuse(SignerUnavailable, "The remote signer's answer broke off; look at the network between us")
	}
	var answer remoteAnswer
	if len(content) > maxAnswer || json.Unmarshal(content, &answer) != nil {
		return remoteAnswer{}, refuse(SignerRefused, "The remote signer's answer is not the protocol's; check its URL and version")
	}
	return answer, nil
}

// cause says what went wrong below HTTP, in words that stay the same: the library's own hold the whole URL and passing port numbers.
func cause(err error) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	broken, isNetwork := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, ErrRemote) || errors.Is(err, os.ErrNotExist):
		return "our client certificate cannot be read"
	case untrusted:
		return "its certificate is not trusted"
	case isNetwork && broken.Op == "remote error":
		return "it does not accept our client certificate"
	case isNetwork && broken.Op == "dial":
		return "it cannot be connected to"
	default:
		return "the connection broke"
	}
}

// String names the wallet.
func (r *Remote) String() string { return "remote signer of " + r.wallet.String() }
