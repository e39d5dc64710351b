// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestAJobGetsATwinInTheHub(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	if _, err := b.pass("train"); err != nil {
		t.Fatal(err)
	}
	job, twin := b.job("train"), b.twin()
	if diff := cmp.Diff(job.Spec, twin.Spec); diff != "" {
		t.Errorf("spec (-job +twin):\n%s", diff)
	}
	wantLabels := map[string]string{"bourse.dev/origin-cluster": "cluster-1", "bourse.dev/origin-uid": "uid-of-train"}
	wantAnnotations := map[string]string{
		"bourse.dev/origin-namespace": builders.Buyer, "bourse.dev/origin-name": "train", "bourse.dev/origin-generation": "1",
	}
	if diff := cmp.Diff(wantLabels, twin.Labels) + cmp.Diff(wantAnnotations, twin.Annotations); diff != "" {
		t.Errorf("origin (-want +got):\n%s", diff)
	}
	if twin.Namespace != ours || !slices.Contains(job.Finalizers, Finalizer) {
		t.Errorf("the twin is in %s, and the job's finalizers are %v", twin.Namespace, job.Finalizers)
	}
	if found := b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub); !strings.Contains(found.Message, twin.Name) {
		t.Errorf("message %q does not name the twin", found.Message)
	}
	b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingMarket)
	if _, err := b.pass("train"); err != nil || len(b.hereWrote)+len(b.hubWrte) > 0 {
		t.Errorf("the second pass wrote %v and %v (%v)", b.hereWrote, b.hubWrte, err)
	}
}

func TestTheTwinsNameIsReadableAndItsOwn(t *testing.T) {
	r := &Reconciler{cluster: "cluster-1", Namespace: ours}
	other := &Reconciler{cluster: "cluster-2", Namespace: ours}
	job := builders.Job("train")
	again := builders.Job("train")
	again.UID = "another"
	dotted := builders.Job("v1.2-" + strings.Repeat("long.", 40) + "x")
	edge := builders.Job(strings.Repeat("a", 45) + "-bcdef") // cut in front of a dash
	name := r.key(job).Name
	if !strings.HasPrefix(name, "team-a-train-") || len(name) != len("team-a-train-")+10 {
		t.Errorf("name %s", name)
	}
	if name != r.key(job).Name || name == r.key(again).Name || name == other.key(job).Name {
		t.Error("the name does not follow from cluster and UID")
	}
	for _, of := range []*boursev1.ComputeJob{job, dotted, edge} {
		if wrong := validation.IsDNS1123Label(r.key(of).Name); len(wrong) > 0 {
			t.Errorf("%s: %v", r.key(of).Name, wrong)
		}
	}
}

func TestAnEditIsPassedOn(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Conditions = []metav1.Condition{condition(boursev1.JobAdmitted, metav1.ConditionTrue, boursev1.ReasonJobAdmitted, 1)}
	})
	b.settle("train")
	b.edit(func(spec *boursev1.ComputeJobSpec) { spec.Bid.MaxPriceUSD = "3" })
	b.settle("train")
	if got := b.twin(); got.Spec.Bid.MaxPriceUSD != "3" || got.Generation != 2 {
		t.Errorf("the twin bids %s in generation %d", got.Spec.Bid.MaxPriceUSD, got.Generation)
	}
	mirrored := b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub)
	admitted := b.says(boursev1.JobAdmitted, metav1.ConditionTrue, boursev1.ReasonJobAdmitted)
	if mirrored.ObservedGeneration != 2 || admitted.ObservedGeneration != 1 {
		t.Errorf("Mirrored is of generation %d and Admitted of %d, want 2 and 1", mirrored.ObservedGeneration, admitted.ObservedGeneration)
	}
	b.market(b.twin(), func(twin *boursev1.ComputeJob) { twin.Status.Conditions[0].ObservedGeneration = 2 })
	b.settle("train")
	if got := b.says(boursev1.JobAdmitted, metav1.ConditionTrue, boursev1.ReasonJobAdmitted); got.ObservedGeneration != 2 {
		t.Errorf("Admitted is of generation %d, want 2", got.ObservedGeneration)
	}
}

func TestWhatSomebodyElseChangesInTheHubIsPutRight(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	twin := b.twin()
	twin.Spec.Bid.BudgetUSD = "2000"
	twin.Annotations[boursev1.AnnotationOriginGeneration] = "many"
	if err := b.hub.Update(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	b.settle("train")
	if got := b.twin(); got.Spec.Bid.BudgetUSD != "20" || got.Annotations[boursev1.AnnotationOriginGeneration] != "1" {
		t.Errorf("budget %s, annotations %v", got.Spec.Bid.BudgetUSD, got.Annotations)
	}
}

func TestAnEditThatComesAfterTheLeaseIsTold(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.edit(func(spec *boursev1.ComputeJobSpec) { spec.DurationSeconds = 60 })
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Lease = &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}
	})
	b.settle("train")
	b.says(boursev1.JobMirrored, metav1.ConditionFalse, boursev1.ReasonEditTooLate)
	if got := b.twin().Spec.DurationSeconds; got != 3600 {
		t.Errorf("the twin runs for %d s", got)
	}
	if lease := b.job("train").Status.Lease; lease == nil || lease.Name != "train-1" {
		t.Errorf("the job's lease is %v", lease)
	}
}

func TestWhyAJobIsNotInTheHubIsTold(t *testing.T) {
	kind := boursev1.GroupVersion.WithKind("ComputeJob").GroupKind()
	refuse := func(err error) func(*bench) {
		return func(b *bench) {
			b.hub.fake.Fail(func(verb string, _ client.Object) error {
				if verb == "create" {
					return err
				}
				return nil
			})
		}
	}
	member := func(change func(*boursev1.Member)) func(*bench) {
		return func(b *bench) {
			var found boursev1.Member
			found.Namespace, found.Name = ours, boursev1.MemberName
			for _, write := range []func(client.Object){b.hub.fake.Edit, b.hub.fake.EditStatus} {
				b.hub.fake.Read(&found)
				change(&found)
				write(&found)
			}
		}
	}
	missing := apierrors.NewGenericServerResponse(http.StatusNotFound, "get", jobsResource, "x", "404 page not found", 0, true)
	cases := map[string]struct {
		prepare func(*bench)
		status  metav1.ConditionStatus
		reason  string
		says    string
		fails   bool
	}{
		"a hub that finds it invalid": {
			refuse(apierrors.NewInvalid(kind, "x", field.ErrorList{field.Invalid(field.NewPath("spec", "bid"), 0, "is too much")})),
			metav1.ConditionFalse, boursev1.ReasonHubRefused, "spec.bid", false,
		},
		"a hub that does not know a field": {
			refuse(apierrors.NewBadRequest(`strict decoding error: unknown field "spec.split"`)),
			metav1.ConditionFalse, boursev1.ReasonHubRefused, "spec.split", false,
		},
		"a quota that is used up": {
			refuse(apierrors.NewForbidden(jobsResource, "x", errors.New("exceeded quota: bourse-member, limited: 256"))),
			metav1.ConditionFalse, boursev1.ReasonHubForbidden, "exceeded quota", false,
		},
		"a member that is suspended": {
			member(func(m *boursev1.Member) {
				m.Status.Conditions = []metav1.Condition{condition(boursev1.Ready, metav1.ConditionFalse, boursev1.ReasonSuspended, 1)}
			}),
			metav1.ConditionFalse, boursev1.ReasonMemberNotReady, boursev1.ReasonSuspended, false,
		},
		"a member with another wallet": {
			member(func(m *boursev1.Member) { m.Spec.Wallet = builders.Address("somebody") }),
			metav1.ConditionFalse, boursev1.ReasonWalletDiffers, string(builders.Address("somebody")), false,
		},
		"no member": {
			func(b *bench) { b.remove(b.hub, builders.Member(ours)) },
			metav1.ConditionFalse, boursev1.ReasonNoMember, "--member-namespace", false,
		},
		"a hub that is this cluster": {
			func(b *bench) {
				same := builders.Member(ours)
				same.UID = "member-uid"
				if err := b.here.Client.Create(b.Context(), same); err != nil {
					b.Fatal(err)
				}
			},
			metav1.ConditionFalse, boursev1.ReasonSameCluster, "--hub-kubeconfig", false,
		},
		"another job of its name": {
			func(b *bench) {
				other := builders.Job(b.r.key(builders.Job("train")).Name)
				other.Namespace = ours
				if err := b.hub.Client.Create(b.Context(), other); err != nil {
					b.Fatal(err)
				}
			},
			metav1.ConditionFalse, boursev1.ReasonNameTaken, "delete it there", false,
		},
		"a hub that is away":                     {func(b *bench) { b.hub.away = unavailable() }, metav1.ConditionUnknown, boursev1.ReasonHubUnreachable, "", true},
		"a hub that does not know jobs just now": {func(b *bench) { b.hub.away = missing }, metav1.ConditionUnknown, boursev1.ReasonHubUnreachable, "", true},
		"a token that is not taken":              {func(b *bench) { b.hub.away = apierrors.NewUnauthorized("expired") }, metav1.ConditionUnknown, boursev1.ReasonHubUnauthorized, "suspended", true},
		"a hub in which the member lost its rights": {
			func(b *bench) { b.hub.away = apierrors.NewForbidden(jobsResource, "x", errors.New("cannot get")) },
			metav1.ConditionFalse, boursev1.ReasonHubForbidden, "cannot get", false,
		},
		"a hub that has too much to do": {refuse(apierrors.NewTooManyRequestsError("later")), metav1.ConditionUnknown, boursev1.ReasonHubUnreachable, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"))
			tc.prepare(b)
			for range 2 {
				result, err := b.pass("train")
				if (err != nil) != tc.fails || !tc.fails && result.RequeueAfter != askAgain {
					t.Fatalf("result %v, error %v", result, err)
				}
			}
			if len(b.hereWrote)+len(b.hubWrte) > 0 {
				t.Errorf("the second pass wrote %v and %v", b.hereWrote, b.hubWrte)
			}
			if found := b.says(boursev1.JobMirrored, tc.status, tc.reason); !strings.Contains(found.Message, tc.says) {
				t.Errorf("message %q does not say %q", found.Message, tc.says)
			}
			b.says(boursev1.Succeeded, metav1.ConditionUnknown, tc.reason)
			if tc.fails { // what is not the job's fault goes away by itself
				b.hub.away = nil
				b.hub.fake.Fail(nil)
				b.settle("train")
				b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub)
			}
		})
	}
}

func TestAnEditThatTheHubRefusesIsTold(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Conditions = []metav1.Condition{condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonMatching, 1)}
	})
	b.hub.fake.Fail(func(verb string, _ client.Object) error {
		if verb == "patch" {
			return apierrors.NewInvalid(boursev1.GroupVersion.WithKind("ComputeJob").GroupKind(), "x", nil)
		}
		return nil
	})
	b.edit(func(spec *boursev1.ComputeJobSpec) { spec.Bid.MaxPriceUSD = "3" })
	if result := b.settle("train"); result.RequeueAfter != askAgain {
		t.Errorf("result %v", result)
	}
	b.says(boursev1.JobMirrored, metav1.ConditionFalse, boursev1.ReasonHubRefused)
	b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonMatching)
}

func TestAHubThatIsAwayChangesNothing(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Conditions = []metav1.Condition{condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonMatching, 1)}
	})
	b.settle("train")
	before := b.job("train")
	b.hub.away = unavailable()
	b.settle("train")
	if diff := cmp.Diff(before, b.job("train")); diff != "" {
		t.Errorf("the job changed:\n%s", diff)
	}
	b.edit(func(spec *boursev1.ComputeJobSpec) { spec.Bid.MaxPriceUSD = "3" })
	for range 2 {
		if _, err := b.pass("train"); err == nil {
			t.Error("the edit reached a hub that is away")
		}
	}
	b.says(boursev1.JobMirrored, metav1.ConditionUnknown, boursev1.ReasonHubUnreachable)
	b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonMatching)
	b.hub.away = nil
	b.settle("train")
	b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub)
}

func TestAConflictTellsNothingAndIsTriedAgain(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.edit(func(spec *boursev1.ComputeJobSpec) { spec.Bid.MaxPriceUSD = "3" })
	b.hereSeen.sync()
	b.hubSeen.sync()
	twin := b.twin() // the cache does not see that the market wrote
	b.market(twin, func(twin *boursev1.ComputeJob) { twin.Status.GPUs = 8 })
	events := b.here.fake.Events()
	if result, err := b.look("train"); err != nil || result.RequeueAfter <= 0 || b.here.fake.Events() != events {
		t.Errorf("result %v, error %v, %d events", result, err, b.here.fake.Events()-events)
	}
	b.settle("train")
	if got := b.twin(); got.Spec.Bid.MaxPriceUSD != "3" || b.job("train").Status.GPUs != 8 {
		t.Errorf("the twin bids %s, and the job has %d GPUs", got.Spec.Bid.MaxPriceUSD, b.job("train").Status.GPUs)
	}
}

// A job that was mirrored and whose twin is gone is run again only if it never ran.
func TestATwinThatIsGone(t *testing.T) {
	leased := func(b *bench) {
		b.market(b.twin(), func(twin *boursev1.ComputeJob) {
			twin.Status.Lease = &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}
		})
		b.settle("train")
	}
	lease := func(end string) func(*bench) {
		return func(b *bench) {
			if err := b.hub.Client.Create(b.Context(), b.lease(b.twin(), end)); err != nil {
				b.Fatal(err)
			}
		}
	}
	ended := func(b *bench) {
		b.market(b.twin(), func(twin *boursev1.ComputeJob) {
			twin.Status.Lease = &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}
			twin.Status.Conditions = []metav1.Condition{condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted, 1)}
		})
		b.settle("train")
	}
	cases := map[string]struct {
		prepare func(*bench)
		twins   int
		reason  string // of Succeeded
	}{
		"it never had a lease":                             {func(*bench) {}, 1, boursev1.ReasonAwaitingMarket},
		"its supplier refused the lease":                   {lease(boursev1.EndNotAccepted), 1, boursev1.ReasonAwaitingMarket},
		"it had a lease":                                   {leased, 0, boursev1.ReasonLostInHub},
		"it had a lease that nobody told the job of":       {lease(""), 0, boursev1.ReasonLostInHub},
		"it had a lease that ended, of which nobody spoke": {lease(boursev1.EndJobDeleted), 0, boursev1.ReasonLostInHub},
		"it had ended":                                     {ended, 0, boursev1.EndCompleted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"))
			b.settle("train")
			tc.prepare(b)
			b.remove(b.hub, b.twin())
			b.settle("train")
			if got := len(b.twins()); got != tc.twins {
				t.Errorf("the hub has %d jobs, want %d", got, tc.twins)
			}
			status := metav1.ConditionFalse
			switch tc.reason {
			case boursev1.ReasonAwaitingMarket:
				status = metav1.ConditionUnknown
			case boursev1.EndCompleted:
				status = metav1.ConditionTrue
			}
			b.says(boursev1.Succeeded, status, tc.reason)
		})
	}
}

func TestATwinThatIsBeingDeletedInTheHubIsTold(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.finalizers(b.hub, b.twin(), "bourse.dev/lease")
	b.remove(b.hub, b.twin())
	b.settle("train")
	b.says(boursev1.JobMirrored, metav1.ConditionUnknown, boursev1.ReasonDeletedInHub)
	b.finalizers(b.hub, b.twin())
	b.settle("train")
	b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub)
}

func TestOnlyJobsOfSomeNamespacesAreMirrored(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Job("infer"))
	b.settle("train")
	b.r.Namespaces = []string{"another"}
	b.settle("infer")
	if b.edit(func(spec *boursev1.ComputeJobSpec) { spec.Bid.MaxPriceUSD = "3" }); len(b.job("infer").Finalizers) > 0 {
		t.Error("a job of another namespace is held")
	}
	b.settle("train")
	if got := b.twin(); got.Annotations[boursev1.AnnotationOriginName] != "train" || got.Spec.Bid.MaxPriceUSD != "3" {
		t.Error("a job that was mirrored before is not seen through")
	}
}

// Were the hub this cluster after all, a twin must not get a twin.
func TestATwinHasNoTwin(t *testing.T) {
	b := newBench(t)
	twin := b.r.draft(builders.Job("train"))
	twin.Namespace, twin.Name, twin.UID = builders.Buyer, "twin", "twin-uid"
	if err := b.here.Client.Create(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	b.settle("twin")
	if len(b.twins()) > 0 || len(b.job("twin").Finalizers) > 0 {
		t.Error("a twin was mirrored")
	}
}

func TestAJobThatIsGoneInTruthGetsNoTwin(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.hereSeen.sync()
	b.hubSeen.sync()
	b.hereSeen.jobs[types.NamespacedName{Namespace: builders.Buyer, Name: "train"}].Finalizers = []string{Finalizer} // as it was once
	b.remove(b.here, builders.Job("train"))
	if result, err := b.look("train"); err != nil || result.RequeueAfter != behind || len(b.twins()) > 0 {
		t.Errorf("result %v, error %v, %d twins", result, err, len(b.twins()))
	}
}
