// SPDX-License-Identifier: Apache-2.0

// Command relay is a link between a member's manager and the hub's API server that can be broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/relay"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to pass connections on from")
	control := flag.String("control", "127.0.0.1:0", "`address` where the link's fault is read and set, by HTTP at "+relay.FaultPath)
	target := flag.String("target", "", "`address` to pass connections on to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *control, *target); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

// run serves link and control until ctx or either of them ends.
func run(ctx context.Context, listen, control, target string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var listeners net.ListenConfig
	link, err := listeners.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for connections: %w", err)
	}
	orders, err := listeners.Listen(ctx, "tcp", control)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	fmt.Printf("%s is passed on to %s; its fault is at http://%s%s\n", link.Addr(), target, orders.Addr(), relay.FaultPath)
	r := relay.New(target)
	server := &http.Server{Handler: r.Control(), ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // Serve returns then
	ended := make(chan error, 1)
	go func() {
		err := server.Serve(orders)
		cancel()
		ended <- err
	}()
	err = r.Serve(ctx, link)
	cancel()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
