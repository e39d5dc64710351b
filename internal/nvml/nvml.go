// SPDX-License-Identifier: Apache-2.0

// Package nvml reads NVIDIA's GPUs through the driver's own library, which is loaded while the process runs: with cgo through go-nvml,
// without it by looking up each function. A function that the driver is too old to have leaves its field empty. It decides nothing.
package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bourse-dev/bourse/internal/device"
)

// Library is the name by which the driver's library is found where the system or the container runtime has put it.
const Library = "libnvidia-ml.so.1"

// waitStep is how long one call waits for an event, and so how long a stop may take.
const waitStep = 2 * time.Second

// Driver reads through one library. It may be used by several goroutines.
type Driver struct {
	path   string
	mu     sync.RWMutex // held for writing while the library is loaded or unloaded
	lib    *calls       // nil while it is not loaded
	events *listener    // nil if the driver tells of no events
	known  atomic.Pointer[map[handle]string]
	opened chan struct{} // closed when the library is loaded
}

// New returns a driver that loads the library when it is first read. Without a path it is looked for under its usual name.
func New(path string) *Driver {
	if path == "" {
		path = Library
	}
	return &Driver{path: path, opened: make(chan struct{})}
}

// Read returns the GPUs, and partitions instead of those that are partitioned. It returns device.ErrAbsent if the library or the kernel's
// part of the driver is not there, and any other error if it is there and does not answer; the next call then loads it again.
func (d *Driver) Read(ctx context.Context) (device.Reading, error) {
	if err := ctx.Err(); err != nil {
		return device.Reading{Class: device.NVIDIA}, fmt.Errorf("read GPUs: %w", err)
	}
	if err := d.open(); err != nil {
		return device.Reading{Class: device.NVIDIA}, err
	}
	reading, err := d.read()
	if err != nil {
		d.Close()
	}
	return reading, err
}

func (d *Driver) read() (device.Reading, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.lib == nil {
		return device.Reading{Class: device.NVIDIA}, errors.New("the library was unloaded meanwhile")
	}
	reading, known, err := read(d.lib)
	if err == nil {
		d.known.Store(&known)
	}
	return reading, err
}

// Wait returns the next error that the driver reports. It returns an error only when the context ends.
func (d *Driver) Wait(ctx context.Context) (device.Event, error) {
	for {
		d.mu.RLock()
		opened := d.opened
		d.mu.RUnlock()
		select {
		case <-ctx.Done():
			return device.Event{}, fmt.Errorf("wait for events: %w", ctx.Err())
		case <-opened:
		}
		if event, ok := d.next(ctx); ok {
			return event, nil
		}
	}
}

// next waits for an event for a while, if the library is still loaded.
func (d *Driver) next(ctx context.Context) (device.Event, bool) {
	d.mu.RLock()
	events := d.events
	if d.lib == nil || events == nil {
		silent := d.lib != nil
		d.mu.RUnlock()
		if silent { // nothing will come until the library is loaded again
			pause(ctx, waitStep)
		}
		return device.Event{}, false
	}
	defer d.mu.RUnlock()
	raw, code := events.wait(waitStep)
	switch {
	case code == timedOut:
		return device.Event{}, false
	case code != success:
		pause(ctx, waitStep)
		return device.Event{}, false
	case raw.kind&eventXID != 0:
		return device.Event{UUID: d.uuidOf(raw.of), XID: xid(raw.data)}, true
	default:
		return device.Event{UUID: d.uuidOf(raw.of)}, true
	}
}

// uuidOf is what the last reading called the GPU: one that has fallen off its bus cannot be asked.
func (d *Driver) uuidOf(of handle) string {
	if known := d.known.Load(); known != nil {
		return (*known)[of]
	}
	return ""
}

func pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// unknownXID is what the driver says when it does not know the number.
const unknownXID = 999

func xid(data uint64) int32 {
	if data >= unknownXID {
		return 0
	}
	return int32(data)
}

// Close unloads the library. A later Read loads it again, and so sees devices that the driver has found or given up since.
func (d *Driver) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lib == nil {
		return
	}
	if d.events != nil {
		d.events.free()
	}
	d.lib.shutdown()
	d.lib, d.events, d.opened = nil, nil, make(chan struct{})
	d.known.Store(nil)
}

// open loads the library and begins to listen for events, unless that was done: then it waits for nobody who waits for an event.
func (d *Driver) open() error {
	d.mu.RLock()
	loaded := d.lib != nil
	d.mu.RUnlock()
	if loaded {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lib != nil {
		return nil
	}
	lib, err := load(d.path)
	if err != nil {
		return err
	}
	if !lib.complete() {
		lib.shutdown()
		return errors.New("the driver is too old: it cannot say what its GPUs are")
	}
	d.lib = lib
	if lib.listen != nil {
		d.events = lib.listen(handles(lib))
	}
	close(d.opened)
	return nil
}

// handles returns the GPUs that answer.
func handles(lib *calls) []handle {
	count, _ := lib.count()
	found := make([]handle, 0, count)
	for i := range count {
		if of, code := lib.at(i); code == success {
			found = append(found, of)
		}
	}
	return found
}
