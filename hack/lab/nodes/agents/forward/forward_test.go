// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"io"
	"net"
	"testing"
)

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener.(*net.TCPListener)
}

func TestServeCarriesBothWaysAndEnds(t *testing.T) {
	far, near := listen(t), listen(t)
	defer far.Close()
	go func() {
		conn, err := far.Accept()
		if err != nil {
			return
		}
		said, _ := io.ReadAll(conn)
		_, _ = conn.Write(append([]byte("heard "), said...))
		_ = conn.Close()
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, near, far.Addr().String()) }()

	conn, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "heard hello" {
		t.Errorf("got %q, want %q", got, "heard hello")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve ended with %v, want nil", err)
	}
}
