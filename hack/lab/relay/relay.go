// SPDX-License-Identifier: Apache-2.0

// Package relay owns one link that a test can break: connections to a target go through it, and what is on its way can be held, delayed
// or lost. It does not know what is said on the link.
package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// pieceBytes is how much is passed on at once.
const pieceBytes = 32 << 10

var errRefused = errors.New("the link is down")

// Relay passes connections on to its target.
type Relay struct {
	target string

	lock    sync.Mutex
	random  *rand.Rand
	fault   Fault         // in force now
	changed chan struct{} // closed when another one is
	orders  int           // how many faults were ordered so far
	links   int           // the number of the newest connection
	aborts  map[int]func()
	count   Count
}

// Count is what has happened on the link.
type Count struct {
	// Connections were passed on; Dropped ones were not.
	Connections int `json:"connections"`
	Dropped     int `json:"dropped"`
	// Out and Back are the bytes that arrived.
	Out  int64 `json:"out"`
	Back int64 `json:"back"`
}

// New returns a relay to a target, which is host:port. The same connections are dropped in every run.
func New(target string) *Relay {
	return &Relay{
		target: target, random: rand.New(rand.NewPCG(1, 2)), changed: make(chan struct{}), aborts: map[int]func(){},
	}
}

// Set puts a fault into force, in the place of the one before.
func (r *Relay) Set(fault Fault) error {
	if err := fault.Validate(); err != nil {
		return err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.orders++
	r.put(fault)
	r.flapLater(fault, r.orders, true)
	return nil
}

// Look returns the fault that is in force now, and what has happened on the link.
func (r *Relay) Look() (Fault, Count) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.fault, r.count
}

// put changes what is in force; the lock is held.
func (r *Relay) put(fault Fault) {
	r.fault = fault
	close(r.changed)
	r.changed = make(chan struct{})
	if fault.Mode != Refuse {
		return
	}
	for _, abort := range r.aborts {
		abort()
	}
}

// flapLater lets a fault go, or come back, after its time; the lock is held.
func (r *Relay) flapLater(fault Fault, order int, on bool) {
	if fault.FlapMS == 0 {
		return
	}
	time.AfterFunc(fault.flap(), func() {
		r.lock.Lock()
		defer r.lock.Unlock()
		if r.orders != order {
			return // another fault was ordered, and has its own time
		}
		next := fault
		if on {
			next = Fault{}
		}
		r.put(next)
		r.flapLater(fault, order, !on)
	})
}

// Serve passes on what the listener accepts until ctx ends. It closes the listener.
func (r *Relay) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var links sync.WaitGroup
	defer links.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept returns then
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil // that is how it ends
		}
		if err != nil {
			return fmt.Errorf("accept connection: %w", err)
		}
		if !r.admit() {
			abort(conn)
			continue
		}
		links.Go(func() { r.carry(ctx, conn) })
	}
}

// admit says whether a new connection is passed on.
func (r *Relay) admit() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.fault.Mode == Refuse || r.fault.DropPercent > 0 && r.random.IntN(100) < r.fault.DropPercent {
		r.count.Dropped++
		return false
	}
	r.count.Connections++
	return true
}

// abort ends a connection as a machine does that does not know it.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed anyhow
	}
	_ = conn.Close()
}

// carry passes one connection on until either side or ctx ends it.
func (r *Relay) carry(ctx context.Context, caller net.Conn) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer r.remember(func() { abort(caller) })()
	defer closeAfter(ctx, caller)()
	// Where nothing gets through, neither does a call.
	if r.pass(ctx, out) != nil {
		return
	}
	target, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
	if err != nil {
		return // and so does the caller's connection
	}
	defer closeAfter(ctx, target)()
	var both sync.WaitGroup
	defer both.Wait()
	defer end()
	both.Go(func() {
		defer end()
		r.pump(ctx, target, caller, out)
	})
	r.pump(ctx, caller, target, back)
}

// closeAfter closes a connection when ctx ends, so that whoever reads it returns, or by the returned function.
func closeAfter(ctx context.Context, conn net.Conn) (closeNow func()) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		stop()
		_ = conn.Close()
	}
}

// remember lets Refuse abort the connection, until the returned function is called.
func (r *Relay) remember(abort func()) (forget func()) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.links++
	key := r.links
	r.aborts[key] = abort
	return func() {
		r.lock.Lock()
		defer r.lock.Unlock()
		delete(r.aborts, key)
	}
}

// pump passes on what goes one way. That the sender has ended it is held like everything else.
func (r *Relay) pump(ctx context.Context, to, from net.Conn, w way) {
	piece := make([]byte, pieceBytes)
	for {
		n, err := from.Read(piece)
		if r.pass(ctx, w) != nil {
			return
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
			r.arrived(w, n)
		}
		if err != nil {
			return
		}
	}
}

func (r *Relay) arrived(w way, n int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if w == out {
		r.count.Out += int64(n)
	} else {
		r.count.Back += int64(n)
	}
}

// pass waits until what goes this way may arrive.
func (r *Relay) pass(ctx context.Context, w way) error {
	for late := false; ; {
		r.lock.Lock()
		fault, changed := r.fault, r.changed
		r.lock.Unlock()
		if fault.Mode == Refuse {
			return errRefused
		}
		var delayed <-chan time.Time
		if !fault.holds(w) {
			if late || fault.DelayMS == 0 {
				return nil
			}
			delayed, late = time.After(fault.delay()), true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-delayed:
		}
	}
}
