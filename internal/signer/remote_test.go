// SPDX-License-Identifier: Apache-2.0

package signer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/signer/signertest"
)

const bearer = "canary-token-5f1c"

// identity is a certificate authority with one server and one client certificate, as files.
type identity struct {
	ca, certificate, key string
	pool                 *x509.CertPool
	server               tls.Certificate
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	dir := t.TempDir()
	caKey, caCert := issue(t, "test authority", nil, nil)
	serverKey, serverCert := issue(t, "signer", caCert, caKey)
	clientKey, clientCert := issue(t, "manager", caCert, caKey)
	id := identity{
		ca: filepath.Join(dir, "ca.crt"), certificate: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"),
		pool: x509.NewCertPool(), server: tls.Certificate{Certificate: [][]byte{serverCert.Raw}, PrivateKey: serverKey},
	}
	id.pool.AddCert(caCert)
	der, err := x509.MarshalPKCS8PrivateKey(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		id.ca:          {Type: "CERTIFICATE", Bytes: caCert.Raw},
		id.certificate: {Type: "CERTIFICATE", Bytes: clientCert.Raw},
		id.key:         {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// issue makes a key and its certificate, signed by the parent or by itself.
func issue(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: parent == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

// serve starts a server that knows its clients by certificate and token, and returns how to reach it.
func serve(t *testing.T, id identity, handler http.Handler) signer.RemoteOptions {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{id.server}, ClientCAs: id.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(bearer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer.RemoteOptions{
		URL:    strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/v1/sign",
		Wallet: signer.FromSeed(canary).PublicKey(), Timeout: time.Minute,
		CA: id.ca, Certificate: id.certificate, Key: id.key, Token: token,
	}
}

func remote(t *testing.T, o signer.RemoteOptions) *signer.Remote {
	t.Helper()
	made, err := signer.NewRemote(o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestRemoteSignsLikeTheKeyItself(t *testing.T) {
	id := newIdentity(t)
	wallet := signer.FromSeed(canary)
	far := remote(t, serve(t, id, signertest.Handler(wallet, bearer)))
	if far.PublicKey() != wallet.PublicKey() {
		t.Errorf("wallet %s, want %s", far.PublicKey(), wallet.PublicKey())
	}
	for _, message := range []string{"a message", "another"} {
		got, err := far.Sign(t.Context(), []byte(message))
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := wallet.Sign(t.Context(), []byte(message)); got != want {
			t.Errorf("%q: signature %s, want %s", message, got, want)
		}
	}
}

// A token that was renewed in its file is used at the next signature.
func TestRemoteReadsARenewedToken(t *testing.T) {
	o := serve(t, newIdentity(t), signertest.Handler(signer.FromSeed(canary), "renewed"))
	far := remote(t, o)
	if _, err := far.Sign(t.Context(), []byte("m")); !errors.Is(err, signer.SignerRefused) {
		t.Fatalf("the old token: %v, want %v", err, signer.SignerRefused)
	}
	if err := os.WriteFile(o.Token, []byte("renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Sign(t.Context(), []byte("m")); err != nil {
		t.Errorf("the renewed token: %v", err)
	}
}

func answer(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestRemoteAcceptsNothingButTheWalletsSignature(t *testing.T) {
	message := []byte("pay nobody")
	sign := func(seed byte, message string) string {
		signature := ed25519.Sign(ed25519.NewKeyFromSeed(append([]byte{seed}, canary[1:]...)), []byte(message))
		text, err := json.Marshal(map[string]string{"signature": chain.Signature(signature).String()})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cases := map[string]struct {
		handler http.Handler
		want    signer.Reason
		says    string
	}{
		"the signature of another wallet":       {answer(200, sign(1, string(message))), signer.SignerRefused, "something else than a signature"},
		"a signature over another message":      {answer(200, sign(canary[0], "pay somebody")), signer.SignerRefused, "something else than a signature"},
		"no signature":                          {answer(200, `{}`), signer.SignerRefused, "something else than a signature"},
		"a page":                                {answer(200, "<html>canary-body</html>"), signer.SignerRefused, "not the protocol's"},
		"an endless answer":                     {answer(200, strings.Repeat(" ", 5000)+sign(canary[0], string(message))), signer.SignerRefused, "not the protocol's"},
		"a refusal":                             {answer(403, "canary-body"), signer.SignerRefused, "HTTP status 403"},
		"a redirect elsewhere":                  {http.RedirectHandler("https://localhost:1/canary-body", http.StatusTemporaryRedirect), signer.SignerRefused, "HTTP status 307"},
		"a signer that is overloaded":           {answer(429, "canary-body"), signer.SignerUnavailable, "HTTP status 429"},
		"a signer that is down behind a proxy":  {answer(503, "canary-body"), signer.SignerUnavailable, "HTTP status 503"},
		"a connection that breaks":              {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), signer.SignerUnavailable, "broke"},
		"a signer that does not know the token": {signertest.Handler(signer.FromSeed(canary), "another"), signer.SignerRefused, "HTTP status 401"},
	}
	id := newIdentity(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			signature, err := remote(t, serve(t, id, tc.handler)).Sign(t.Context(), message)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("got %v, want %s that says %q", err, tc.want, tc.says)
			}
			if !signature.IsZero() {
				t.Error("a signature came with the refusal")
			}
			for _, secret := range []string{bearer, "canary-body", "/v1/sign"} {
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
					t.Errorf("%v shows %q", err, secret)
				}
			}
		})
	}
}

func TestRemoteKeepsToItsTime(t *testing.T) {
	hang := http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		<-request.Context().Done()
	})
	o := serve(t, newIdentity(t), hang)
	o.Timeout = 50 * time.Millisecond
	if _, err := remote(t, o).Sign(t.Context(), []byte("m")); !errors.Is(err, signer.SignerUnavailable) {
		t.Errorf("got %v, want %v", err, signer.SignerUnavailable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := remote(t, o).Sign(ctx, []byte("m")); !errors.Is(err, context.Canceled) || errors.Is(err, signer.SignerUnavailable) {
		t.Errorf("got %v, want only %v", err, context.Canceled)
	}
}

func TestRemoteTrustsNobodyElse(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	o := serve(t, id, signertest.Handler(signer.FromSeed(canary), bearer))
	cases := map[string]struct {
		change func(*signer.RemoteOptions)
		says   string
	}{
		"a server of another authority": {func(o *signer.RemoteOptions) { o.CA = other.ca }, "not trusted"},
		"a client of another authority": {func(o *signer.RemoteOptions) { o.Certificate, o.Key = other.certificate, other.key }, "client certificate"},
		"a server that is not there":    {func(o *signer.RemoteOptions) { o.URL = "https://127.0.0.1:1/v1/sign" }, "cannot be connected to"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed := o
			tc.change(&changed)
			_, err := remote(t, changed).Sign(t.Context(), []byte("m"))
			if !errors.Is(err, signer.SignerUnavailable) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %s that says %q", err, signer.SignerUnavailable, tc.says)
			}
		})
	}
}

func TestNewRemoteSaysWhatIsWrong(t *testing.T) {
	id := newIdentity(t)
	good := signer.RemoteOptions{URL: "https://signer.example/v1/sign", Wallet: signer.FromSeed(canary).PublicKey(), CA: id.ca}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("two words: canary-body"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*signer.RemoteOptions)
		says   string
	}{
		"no address":                     {func(o *signer.RemoteOptions) { o.Wallet = [32]byte{} }, "wallet's address is missing"},
		"no URL":                         {func(o *signer.RemoteOptions) { o.URL = "" }, "https://"},
		"messages in the clear":          {func(o *signer.RemoteOptions) { o.URL = "http://signer.example/v1/sign" }, "https://"},
		"a password in the URL":          {func(o *signer.RemoteOptions) { o.URL = "https://a:canary-body@signer.example/" }, "without a user"},
		"a key in the URL":               {func(o *signer.RemoteOptions) { o.URL = "https://signer.example/?key=canary-body" }, "without a user"},
		"a CA that is none":              {func(o *signer.RemoteOptions) { o.CA = garbage }, "holds no certificate"},
		"a certificate without its key":  {func(o *signer.RemoteOptions) { o.Certificate = id.certificate }, "needs its key"},
		"a certificate that is none":     {func(o *signer.RemoteOptions) { o.Certificate, o.Key = garbage, id.key }, "not a certificate and its key"},
		"a token file with two words":    {func(o *signer.RemoteOptions) { o.Token = garbage }, "one bearer token"},
		"a token file that is not there": {func(o *signer.RemoteOptions) { o.Token = garbage + "x" }, "open token file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := good
			tc.change(&o)
			_, err := signer.NewRemote(o)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary-body") {
				t.Errorf("got %v, want an error that says %q and shows no content", err, tc.says)
			}
		})
	}
	good.URL = "http://127.0.0.1:9000/v1/sign"
	if _, err := signer.NewRemote(good); err != nil {
		t.Errorf("a signer on this machine: %v", err)
	}
}
