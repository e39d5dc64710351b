// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// handedOver is the program that the market handed over for the lease.
func (b *bench) handedOver() *boursev1.LeaseProgram {
	b.t.Helper()
	program := &boursev1.LeaseProgram{ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Namespace, Name: b.lease.Name}}
	b.hub.Read(program)
	return program
}

// withhold takes the program away, and returns it as it can be made anew.
func (b *bench) withhold() *boursev1.LeaseProgram {
	b.t.Helper()
	program := b.handedOver()
	if err := b.hub.Delete(b.t.Context(), program); err != nil {
		b.t.Fatal(err)
	}
	program.ResourceVersion = ""
	return program
}

// exchange has the market hand over another program, which the lease names if it is told to.
func (b *bench) exchange(change func(*boursev1.RayProgram), named bool) {
	b.t.Helper()
	program := b.withhold()
	change(&program.Spec.Ray)
	if err := b.hub.Create(b.t.Context(), program); err != nil {
		b.t.Fatal(err)
	}
	if named {
		b.lease.Spec.ProgramSHA256 = contract.ProgramDigest(program.Spec.Salt, &program.Spec.Ray)
		b.lease.Spec.Ends = contract.Ending(&program.Spec.Ray)
		b.hub.Edit(b.lease)
	}
}

// What a lease runs comes after the lease, and maybe much later: it is waited for, and nothing is held for it meanwhile.
func TestAProgramThatIsNotThereYetIsWaitedFor(t *testing.T) {
	b := newBench(t, nil)
	program := b.withhold()
	wait := b.rest()
	b.want(boursev1.LeaseAccepted, metav1.ConditionUnknown, boursev1.ReasonAwaitingProgram)
	if wait.RequeueAfter != 30*time.Second || len(b.pods()) > 0 {
		t.Errorf("it looks again in %s and holds %d pods, want at acceptBy and none", wait.RequeueAfter, len(b.pods()))
	}
	b.hub.Step(20 * time.Second)
	if err := b.hub.Create(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	b.accepted()
}

func TestAProgramThatDoesNotComeInTimeIsNotRun(t *testing.T) {
	b := newBench(t, nil)
	b.withhold()
	b.rest()
	b.hub.Step(30 * time.Second)
	b.rest()
	b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonProgramMissing)
	b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
	b.nothingLeft()
}

func TestProgramsThatAreRefused(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.RayProgram)
		named  bool
		want   string
	}{
		"another than the lease names": {func(p *boursev1.RayProgram) { p.Image = "miner:1" }, false, "another Ray program"},
		"an old Ray":                   {func(p *boursev1.RayProgram) { p.Version = "2.9.0" }, true, "token authentication"},
		"a variable of the operator": {func(p *boursev1.RayProgram) {
			p.Env = []boursev1.EnvVar{{Name: "NVIDIA_VISIBLE_DEVICES", Value: new("all")}}
		}, true, "the operator's own"},
		"memory without bounds": {func(p *boursev1.RayProgram) { p.HeadMemory = resource.Quantity{} }, true, "no bounds"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.exchange(tc.change, tc.named)
			b.pass()
			b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonTermsRefused)
			if got := b.lease.Status.End.Message; !strings.Contains(got, tc.want) {
				t.Errorf("it says %q, which does not name %q", got, tc.want)
			}
			b.rest()
			b.nothingLeft()
		})
	}
}

// Everybody may read a lease, so a refusal shows nothing of what it is about.
func TestARefusalTellsNothingOfTheProgram(t *testing.T) {
	secret := func(p *boursev1.RayProgram) {
		p.Image, p.Entrypoint, p.Program = "registry.example/secret:1", "python secret.py", "secret = 1"
		p.Env = []boursev1.EnvVar{{Name: "SECRET_NAME", Value: new("secret value")}}
	}
	cases := map[string]func(*boursev1.RayProgram){
		"another program": nil,
		"an image":        func(*boursev1.RayProgram) {},
		"a variable": func(p *boursev1.RayProgram) {
			p.Env = append(p.Env, boursev1.EnvVar{Name: "RAY_SECRET", Value: new("secret")})
		},
		"a size":    func(p *boursev1.RayProgram) { p.WorkerCPU = resource.MustParse("-31") },
		"a version": func(p *boursev1.RayProgram) { p.Version = "2.31.0" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(_ *boursev1.GPULease, p *boursev1.GPUPool) {
				if name == "an image" {
					p.Spec.Terms.Images = []boursev1.ImageRepository{"acme/"}
				}
			})
			b.exchange(func(p *boursev1.RayProgram) {
				secret(p)
				if change != nil {
					change(p)
				}
			}, change != nil)
			b.rest()
			b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonTermsRefused)
			text, err := json.Marshal(b.lease)
			if err != nil {
				t.Fatal(err)
			}
			for _, hidden := range []string{"ecret", "SECRET", "-31", "2.31.0"} {
				if strings.Contains(string(text), hidden) {
					t.Errorf("the lease shows %q: %s", hidden, text)
				}
			}
		})
	}
}

// Between acceptance and launch a program can only go if somebody deletes it. Nothing else is run in its place.
func TestAProgramThatIsGoneBeforeTheLaunch(t *testing.T) {
	b := newBench(t, nil)
	b.accepted()
	program := b.withhold()
	b.deposit()
	b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonAwaitingProgram)
	b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingProgram)
	if _, launched, err := b.controller().running(t.Context(), b.lease); launched || err != nil {
		t.Fatalf("something runs: %v, %v", launched, err)
	}
	if err := b.hub.Create(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonStarting)
	b.kuberay()
}

func TestAProgramThatIsAnotherAtTheLaunchIsNotRun(t *testing.T) {
	b := newBench(t, nil)
	b.accepted()
	b.exchange(func(p *boursev1.RayProgram) { p.Image = "miner:1" }, false)
	b.deposit()
	b.rest()
	b.wantEnd(boursev1.EndFault, boursev1.PartyMarket)
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	if b.paid() != 0 {
		t.Errorf("%d was paid for what never ran", b.paid())
	}
	b.nothingLeft()
}

// Ray sends what a program wrote to those who follow it up to a second later: the end is the part that nobody may miss. What is cut off has no
// last words.
func TestWhoFollowsAProgramHearsItsEnd(t *testing.T) {
	cases := map[string]struct {
		happens func(*bench)
		stays   bool
	}{
		"a program that ended well": {func(b *bench) { b.finishProgram(true) }, true},
		"one that failed":           {func(b *bench) { b.finishProgram(false) }, true},
		"one whose job is deleted":  {func(b *bench) { b.deleteJob() }, false},
		"one that failed as its GPUs were taken": {func(b *bench) {
			b.edit("ray-worker", func(pod *corev1.Pod) { raytest.Preempt(pod, b.hub.Now()) })
			b.rest()
			b.hub.Step(notice)
			b.finishProgram(false)
		}, false},
		"one that outlasts its term": {func(b *bench) { b.hub.Step(65 * time.Minute) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, program)
			b.running()
			tc.happens(b)
			there := func() bool {
				_, launched, err := b.controller().running(t.Context(), b.lease)
				if err != nil {
					t.Fatal(err)
				}
				return launched
			}
			b.rest()
			if there() != tc.stays {
				t.Errorf("it is there: %t", !tc.stays)
			}
			b.hub.Step(lastWords)
			b.rest()
			if there() {
				t.Error("it stays")
			}
		})
	}
}
