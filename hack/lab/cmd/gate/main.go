// SPDX-License-Identifier: Apache-2.0

// Command gate joins addresses of a network namespace with others: each argument is LISTEN=TARGET, and connections to LISTEN are passed on
// to TARGET. LISTEN is host:port, or fd:NUMBER for a socket that whoever starts the gate has opened in another namespace.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/bourse-dev/bourse/hack/lab/relay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

// run passes on until ctx or one of the ways ends.
func run(ctx context.Context, ways []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(ways) == 0 {
		return errors.New("no way is given: write each as LISTEN=TARGET")
	}
	listeners := make([]net.Listener, len(ways))
	for i, way := range ways {
		var err error
		from, _, _ := strings.Cut(way, "=")
		if listeners[i], err = listen(ctx, from); err != nil {
			return fmt.Errorf("open %q: %w", way, err)
		}
	}
	ended := make([]error, len(ways))
	var group sync.WaitGroup
	for i, way := range ways {
		_, to, _ := strings.Cut(way, "=")
		group.Go(func() {
			ended[i] = relay.New(to).Serve(ctx, listeners[i])
			cancel()
		})
	}
	group.Wait()
	return errors.Join(ended...)
}

func listen(ctx context.Context, from string) (net.Listener, error) {
	text, given := strings.CutPrefix(from, "fd:")
	if !given {
		return new(net.ListenConfig).Listen(ctx, "tcp", from)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("parse file descriptor: %w", err)
	}
	file := os.NewFile(uintptr(number), from)
	defer file.Close() //nolint:errcheck // the listener has its own copy
	return net.FileListener(file)
}
