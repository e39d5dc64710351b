// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr"
	certutil "k8s.io/client-go/util/cert"

	"github.com/bourse-dev/bourse/internal/join"
)

func TestServeEndsWithItsContext(t *testing.T) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	served, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := join.NewGate(join.GateOptions{Hub: listener.Addr().String(), Network: join.Network(network), Random: rand.Reader, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	server := NewServer(gate, &admitter{}, logr.Discard(), time.Now)
	go func() {
		ended <- server.Serve(ctx, listener, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &served, nil })
	}()
	client, err := NewClient("https://"+listener.Addr().String(), certificate)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Challenge(t.Context(), pair("w").PublicKey()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	stranger, err := NewClient("https://"+listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := stranger.Challenge(t.Context(), pair("w").PublicKey()); err == nil {
		t.Error("a hub that has ended answers")
	}
	if _, err := NewClient("https://join.example", []byte("no certificate")); !errors.Is(err, ErrHub) {
		t.Errorf("authorities that are none: %v", err)
	}
}
