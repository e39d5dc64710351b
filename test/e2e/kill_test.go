// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var everyPoint = flag.Bool("every-point", false, "kill the manager at every point, and not only where a transaction is signed, written and sent")

const (
	killedWithin = 4 * time.Minute  // a point is reached again and again: each lease has all of them
	newJobEvery  = 12 * time.Second // so that some lease is in every part of its life
	manyJobs     = 60
	killEnv      = "BOURSE_CRASHPOINT" // as in a build with the tag crashpoints
)

// points are those at which the manager is killed in every run of all tests; the others are killed at by `make kill-money`.
func points() []string {
	if *everyPoint {
		return crashpoint.Names()
	}
	return slices.DeleteFunc(crashpoint.Names(), func(name string) bool {
		return !strings.HasPrefix(name, "outbox.sent.") && !strings.HasSuffix(name, ".written")
	})
}

// The real manager is killed at each step that is durable or seen by others, while leases are paid on the chain. It is started again
// every time, and in the end each lease is paid for exactly what was metered, once.
func TestKillingTheManagerAtAnyStepPaysOnce(t *testing.T) {
	t.Parallel()
	lab := up(t)
	before, err := story.NewLedger(lab).Supplies(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	teller := story.NewTeller(t.Output(), time.Now)
	if err := teller.Offers(t.Context(), lab, 2); err != nil { // nobody offers anything once the lab's own manager is dead
		t.Fatal(err)
	}
	k := newKiller(t, lab, teller)
	for _, point := range points() {
		took := k.killAt(point)
		k.teller.Say("killed at %-24s ok, after %s", point, took.Round(100*time.Millisecond))
	}
	manager := k.start("")
	defer k.stop(manager)
	if err := k.teller.Finished(t.Context(), lab, k.jobs...); err != nil {
		t.Fatal(err)
	}
	if err := k.teller.Audit(t.Context(), lab, before, k.jobs...); err != nil {
		t.Error(err)
	}
	for _, job := range k.jobs {
		paidOnce(t, k.lab, job)
	}
	k.teller.Say("killed at %d points during %d leases: each was paid for what was metered, once", len(points()), len(k.jobs))
}

// killer runs the manager that dies, in the place of the lab's own, and keeps jobs coming.
type killer struct {
	t       *testing.T
	lab     *story.Lab
	teller  *story.Teller
	program string
	args    []string
	log     *os.File
	jobs    []*story.Job
	last    time.Time
}

func newKiller(t *testing.T, lab *story.Lab, teller *story.Teller) *killer {
	t.Helper()
	k := &killer{t: t, lab: lab, teller: teller, program: filepath.Join(t.TempDir(), "manager")}
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-ldflags", "-s -w", "-o", k.program, "./cmd/manager")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the manager: %v: %s", err, out)
	}
	var state struct {
		Manager struct {
			Args []string `json:"args"`
		} `json:"manager"`
	}
	k.read("lab.json", &state)
	// Nobody else runs, so nobody has to be waited for.
	k.args = append(state.Manager.Args[1:], "--leader-elect=false")
	var record struct {
		PID int `json:"pid"`
	}
	k.read(filepath.Join("proc", "manager.json"), &record)
	if err := syscall.Kill(record.PID, syscall.SIGKILL); err != nil {
		t.Fatalf("end the lab's own manager: %v", err)
	}
	var err error
	if k.log, err = os.Create(filepath.Join(t.TempDir(), "manager.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.log.Close() }) // the managers have ended
	k.await("the lab's own manager to end", func() (bool, error) { return syscall.Kill(record.PID, 0) != nil, nil })
	return k
}

func (k *killer) read(file string, into any) {
	k.t.Helper()
	data, err := os.ReadFile(filepath.Join(k.lab.Dir, file))
	if err != nil {
		k.t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		k.t.Fatal(err)
	}
}

func (k *killer) await(what string, done func() (bool, error)) {
	k.t.Helper()
	err := k.teller.Wait(k.t.Context(), what, killedWithin, func(context.Context) (bool, error) { return done() })
	if err != nil {
		log, _ := os.ReadFile(k.log.Name()) // the error says enough if there is no log
		k.t.Fatalf("%v\n%s", err, log[max(0, len(log)-4000):])
	}
}

// start runs the manager. With a point it will kill itself there.
func (k *killer) start(point string) *exec.Cmd {
	k.t.Helper()
	manager := exec.CommandContext(k.t.Context(), k.program, k.args...)
	manager.Dir = k.lab.Dir
	manager.Env = append(os.Environ(), killEnv+"="+point)
	manager.Stdout, manager.Stderr = k.log, k.log
	if err := manager.Start(); err != nil {
		k.t.Fatal(err)
	}
	return manager
}

func (k *killer) stop(manager *exec.Cmd) {
	k.t.Helper()
	if err := errors.Join(manager.Process.Kill(), ignoreExit(manager.Wait())); err != nil {
		k.t.Error(err)
	}
}

// ignoreExit leaves out that a process did not end well: it was killed.
func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// killAt runs the manager until it has killed itself at the point, with work for it all the time.
func (k *killer) killAt(point string) time.Duration {
	k.t.Helper()
	began := time.Now()
	manager := k.start(point)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = manager.Wait() // how it ended is in its state
	}()
	k.await("the manager to die at "+point, func() (bool, error) {
		if time.Since(k.last) > newJobEvery {
			k.order()
		}
		select {
		case <-ended:
			return true, nil
		default:
			return false, nil
		}
	})
	if status, ok := manager.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		k.t.Fatalf("at %s the manager ended with %s", point, manager.ProcessState)
	}
	return time.Since(began)
}

// order applies one more small job, in turn for each token.
func (k *killer) order() {
	k.t.Helper()
	if len(k.jobs) >= manyJobs {
		return
	}
	token := []string{"IO", "USDC"}[len(k.jobs)%2]
	manifest := fmt.Sprintf(`{"apiVersion": "bourse.dev/v1alpha1", "kind": "ComputeJob", "metadata": {"name": "kill-%02d", "namespace": "buyer"},
"spec": {"gpus": {"models": ["h100-sxm-80gb", "a100-sxm-80gb"], "workers": 1, "perWorker": 1}, "bid": {"token": %q, "maxPriceUSD": "2.50",
"budgetUSD": "1"}, "durationSeconds": 60, "ray": {"image": "rayproject/ray:2.54.1", "version": "2.54.1"}}}`, len(k.jobs), token)
	path := filepath.Join(k.t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		k.t.Fatal(err)
	}
	job, err := k.teller.Apply(k.t.Context(), k.lab, path)
	if err != nil {
		k.t.Fatal(err)
	}
	k.jobs, k.last = append(k.jobs, job), time.Now()
}

// paidOnce holds what the chain paid against what was metered, and each settlement against the one before.
func paidOnce(t *testing.T, lab *story.Lab, job *story.Job) {
	t.Helper()
	flow, err := story.NewLedger(lab).Flow(t.Context(), job.Lease)
	if err != nil {
		t.Fatal(err)
	}
	fees, err := contract.Fees(&job.Lease.Spec.Payment)
	if err != nil {
		t.Fatal(err)
	}
	used := job.Lease.Status.Usage
	if used == nil || used.Final != boursev1.UsageFinal || *used.Gross <= 0 {
		t.Errorf("%s: %+v was metered", job.Name, used)
		return
	}
	due, err := fees.Split(money.Amount(*used.Gross))
	if err != nil {
		t.Fatal(err)
	}
	paid := money.Split{Debit: money.Amount(flow.Supplier + flow.Treasury + flow.Burn), Supplier: money.Amount(flow.Supplier), Treasury: money.Amount(flow.Treasury), Burn: money.Amount(flow.Burn)}
	due.BuyerFee, due.SupplierFee = 0, 0
	if paid != due {
		t.Errorf("%s: paid %+v for %d metered, want %+v", job.Name, paid, *used.Gross, due)
	}
	list, err := story.Settlements(t.Context(), lab, job)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b boursev1.Settlement) int { return int(a.Spec.Period - b.Spec.Period) })
	for i := range list {
		if list[i].Spec.Kind == boursev1.SettlementClaim && i > 0 && *list[i].Spec.GrossTotal <= *list[i-1].Spec.GrossTotal {
			t.Errorf("%s: period %d is paid again", job.Name, list[i].Spec.Period)
		}
	}
}
