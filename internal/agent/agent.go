// SPDX-License-Identifier: Apache-2.0

// Package agent keeps a node's GPUNode as its drivers and its kubelet say: it reads now and then and whenever a driver reports an error,
// and writes only what has changed. It knows no driver and no transport.
package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/kubelet"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// Reader reads the devices of one class. It returns device.ErrAbsent if the node has no driver of that class, and any other error if there
// is one and nothing is known of its devices now.
type Reader interface {
	Read(ctx context.Context) (device.Reading, error)
}

// Watcher is a Reader whose driver reports errors by itself.
type Watcher interface {
	Reader
	// Wait returns the next error. It fails only when the context ends.
	Wait(ctx context.Context) (device.Event, error)
	// Close gives the driver up; the next Read begins anew, and so finds what has come and gone.
	Close()
}

// Machine tells one boot of the kernel from another, and which pod a process belongs to: "" for none, and fs.ErrNotExist for a process that
// is no more.
type Machine interface {
	BootID(ctx context.Context) (string, error)
	PodOf(pid int) (string, error)
}

// Kubelet says which pod has which device.
type Kubelet interface {
	Devices(ctx context.Context) (kubelet.Allocation, error)
}

// Board is where the node's devices are published. Write returns a conflict (apierrors.IsConflict) if the object has changed since Get.
type Board interface {
	Get(ctx context.Context) (*boursev1.GPUNode, error)
	Write(ctx context.Context, node *boursev1.GPUNode) error
	Beat(ctx context.Context, now time.Time) error
}

// Key signs what the agent publishes. Both are in base64.
type Key interface {
	PublicKey() string
	Sign(message []byte) string
}

// retryAfter is when something that could not be written is tried again, so that an error of a device is told within seconds.
const retryAfter = 2 * time.Second

// settle is how long a reading waits after an error for those that come with it, so that a device in trouble is not read without a pause.
const settle = 300 * time.Millisecond

// Agent is the agent of one node.
type Agent struct {
	Readers  []Reader
	Machine  Machine
	Kubelet  Kubelet // nil on a machine that is no node
	Board    Board
	Key      Key
	Metrics  *metrics.Agent
	Now      func() time.Time
	Interval time.Duration // how often it reads
	Beat     time.Duration // how often it shows that it is there
	Idle     func()        // called when it has read, and has nothing to do until it reads again

	pending  []device.Event // errors that are not published yet
	sequence int64          // the number of the last record
}

// Run works until the context ends. A driver, a kubelet or an API server that is away ends nothing: all are tried again.
func (a *Agent) Run(ctx context.Context) {
	events := make(chan device.Event)
	var watchers sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer watchers.Wait()
	defer stop()
	for _, reader := range a.Readers {
		if watcher, ok := reader.(Watcher); ok {
			watchers.Go(func() { watch(ctx, watcher, events) })
		}
	}
	beats := time.NewTicker(a.Beat)
	defer beats.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	a.beat(ctx)
	soon := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			a.beat(ctx)
		case event := <-events:
			if a.hear(ctx, event) && !soon {
				soon = true
				next.Reset(settle)
			}
		case <-next.C:
			soon = false
			next.Reset(a.pass(ctx))
			a.Idle()
		}
	}
}

// watch hands on what the driver reports until the context ends.
func watch(ctx context.Context, watcher Watcher, events chan<- device.Event) {
	for {
		event, err := watcher.Wait(ctx)
		if err != nil {
			return
		}
		select {
		case events <- event:
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) beat(ctx context.Context) {
	if err := a.Board.Beat(ctx, a.Now()); err != nil && ctx.Err() == nil {
		logr.FromContextOrDiscard(ctx).Error(err, "Could not show that the agent is there")
	}
}

// hear takes in an error of a device, and says whether it may have changed what there is to publish: after an error of a program the device
// is well.
func (a *Agent) hear(ctx context.Context, event device.Event) bool {
	a.Metrics.Error(event.XID)
	critical := device.Critical(event.XID)
	if !critical && event.XID != 0 {
		logr.FromContextOrDiscard(ctx).V(1).Info("Heard error of program", "uuid", event.UUID, "xid", event.XID)
		return false
	}
	logr.FromContextOrDiscard(ctx).Info("Heard error of device", "uuid", event.UUID, "xid", event.XID)
	if critical && event.UUID != "" {
		a.pending = append(a.pending, event)
	}
	return true
}

// pass reads and publishes once, and returns when to do so again.
func (a *Agent) pass(ctx context.Context) time.Duration {
	changed, err := a.publish(ctx)
	if apierrors.IsConflict(err) { // the object has changed meanwhile: once more, with the new one
		changed, err = a.publish(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return a.Interval
	case err != nil:
		a.Metrics.Write(metrics.OutcomeError)
		logr.FromContextOrDiscard(ctx).Error(err, "Could not publish devices")
		return min(retryAfter, a.Interval)
	case changed:
		a.Metrics.Write(metrics.OutcomeOK)
	default:
		a.Metrics.Write(metrics.OutcomeUnchanged)
	}
	a.pending = nil
	return a.Interval
}

// publish reads the devices and writes what has changed.
func (a *Agent) publish(ctx context.Context) (bool, error) {
	node, err := a.Board.Get(ctx)
	if err != nil {
		return false, err
	}
	boot, err := a.Machine.BootID(ctx)
	if err != nil {
		return false, err
	}
	recycle := node.Annotations[boursev1.AnnotationRecycle]
	if recycle == node.Status.Recycled || len(recycle) > maxRecycle {
		recycle = ""
	}
	seen := a.look(ctx, recycle != "")
	next := node.DeepCopy()
	a.decide(next, seen, boot, recycle)
	a.show(next, seen)
	if !changed(&node.Status, &next.Status) {
		return false, nil
	}
	if err := a.Board.Write(ctx, next); err != nil {
		return false, err
	}
	tell(ctx, node, next)
	return true, nil
}

// maxRecycle is how long a value of the annotation may be; a longer one is left alone.
const maxRecycle = 64

// sight is what one look finds.
type sight struct {
	readings   []device.Reading
	absent     map[device.Class]bool
	failed     []error
	allocation *kubelet.Allocation // nil if nobody said
	kubelet    error
}

// look asks every driver, and the kubelet.
func (a *Agent) look(ctx context.Context, anew bool) sight {
	seen := sight{absent: map[device.Class]bool{}}
	for _, reader := range a.Readers {
		if watcher, ok := reader.(Watcher); ok && anew {
			watcher.Close()
		}
		reading, err := reader.Read(ctx)
		switch {
		case errors.Is(err, device.ErrAbsent):
			seen.absent[reading.Class] = true
		case err != nil:
			a.Metrics.Reading(metrics.OutcomeError)
			logr.FromContextOrDiscard(ctx).Error(err, "Could not read devices", "class", reading.Class)
			seen.failed = append(seen.failed, err)
		default:
			a.Metrics.Reading(metrics.OutcomeOK)
			for i := range reading.Devices {
				a.attribute(&reading.Devices[i])
			}
			seen.readings = append(seen.readings, reading)
		}
	}
	if a.Kubelet == nil {
		return seen
	}
	allocation, err := a.Kubelet.Devices(ctx)
	if err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "Could not ask kubelet")
		seen.kubelet = err
		return seen
	}
	seen.allocation = &allocation
	return seen
}

// tell logs what a person may want to know: that the node is ready or no more, and devices that fell sick or came back.
func tell(ctx context.Context, before, after *boursev1.GPUNode) {
	logger := logr.FromContextOrDiscard(ctx)
	if was, is := ready(before), ready(after); was.Status != is.Status || was.Reason != is.Reason {
		logger.Info("Changed readiness", "status", is.Status, "reason", is.Reason, "message", is.Message)
	}
	faults := make(map[string]boursev1.DeviceFault, len(before.Status.Devices))
	for i := range before.Status.Devices {
		faults[before.Status.Devices[i].UUID] = before.Status.Devices[i].Fault
	}
	for i := range after.Status.Devices {
		of := &after.Status.Devices[i]
		if was := faults[of.UUID]; was != of.Fault {
			logger.Info("Changed health of device", "uuid", of.UUID, "health", of.Health, "fault", of.Fault)
		}
	}
	if len(after.Status.Devices) != len(before.Status.Devices) {
		logger.Info("Found devices", "count", len(after.Status.Devices))
	}
}

// joined says several errors in one line.
func joined(of []error) string { return fmt.Sprint(errors.Join(of...)) }
