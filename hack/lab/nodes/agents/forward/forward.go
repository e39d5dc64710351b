// SPDX-License-Identifier: Apache-2.0

// Package forward carries TCP connections to one address.
// It decides nothing about what is in them.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
)

// Serve connects whoever comes to the listener to the TCP address, until ctx ends.
func Serve(ctx context.Context, listener net.Listener, address string) error {
	stop := context.AfterFunc(ctx, func() {
		if err := listener.Close(); err != nil {
			slog.Warn("Could not close listener", "err", err)
		}
	})
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			if err := carry(ctx, conn, address); err != nil {
				slog.Warn("Lost connection", "to", address, "err", err)
			}
		}()
	}
}

// carry copies both ways until both sides have said all they had to say.
func carry(ctx context.Context, near net.Conn, address string) (err error) {
	defer func() { err = errors.Join(err, near.Close()) }()
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	sent := make(chan error, 1)
	go func() { sent <- pipe(far, near) }()
	received := pipe(near, far)
	return errors.Join(received, <-sent)
}

// pipe copies from one side to the other and passes the end on. A side that has gone is an end, too.
func pipe(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		err = errors.Join(err, half.CloseWrite())
	}
	if gone(err) {
		return nil
	}
	return err
}
