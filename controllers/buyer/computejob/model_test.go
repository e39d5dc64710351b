// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// model plays users, a market and outages against the controller.
type model struct {
	*bench
	rand   *rand.Rand
	names  []string
	made   int
	leased map[types.UID]int // how many leases each job's twins got
	forced map[types.UID]bool
	log    []string
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{
		bench: newBench(t), rand: rand.New(rand.NewPCG(seed, 7)), names: []string{"train", "infer"},
		leased: map[types.UID]int{}, forced: map[types.UID]bool{},
	}
	foreign := &Reconciler{cluster: "cluster-2", Namespace: ours}
	if err := m.hub.Client.Create(t.Context(), foreign.draft(builders.Job("train"))); err != nil {
		t.Fatal(err)
	}
	return m
}

// must fails unless the error is none, or that the object is gone or was changed in between.
func (m *model) must(err error) {
	m.Helper()
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		m.Fatal(err)
	}
}

func (m *model) chance(percent int) bool { return m.rand.IntN(100) < percent }

// mine is a twin of this cluster, or nil.
func (m *model) mine() *boursev1.ComputeJob {
	m.Helper()
	twins := slices.DeleteFunc(m.twins(), func(twin boursev1.ComputeJob) bool { return twin.Labels[boursev1.LabelOriginCluster] != "cluster-1" })
	if len(twins) == 0 {
		return nil
	}
	return &twins[m.rand.IntN(len(twins))]
}

// user does something to a job of the buyer's cluster.
func (m *model) user() {
	m.Helper()
	name := m.names[m.rand.IntN(len(m.names))]
	job := m.find(name)
	switch {
	case job == nil:
		m.made++
		made := builders.Job(name)
		made.UID = types.UID(fmt.Sprintf("job-%d", m.made))
		m.log = append(m.log, "create "+string(made.UID))
		m.must(m.here.Client.Create(m.Context(), made))
	case m.chance(50) && job.DeletionTimestamp.IsZero() && job.Status.Lease == nil:
		job.Spec.DurationSeconds = 3600 + m.rand.Int32N(3)
		job.Generation++
		m.log = append(m.log, "edit "+string(job.UID))
		m.must(m.here.Update(m.Context(), job))
	case m.chance(60):
		m.log = append(m.log, "delete "+string(job.UID))
		m.must(m.here.Client.Delete(m.Context(), job))
	case m.chance(30):
		m.log = append(m.log, "force "+string(job.UID))
		m.forced[job.UID] = true
		job.Finalizers = nil
		m.must(m.here.Update(m.Context(), job))
		m.must(m.here.Client.Delete(m.Context(), job))
	}
}

// market does something to a twin, as the market or somebody with rights in the hub would.
func (m *model) market() {
	m.Helper()
	twin := m.mine()
	if twin == nil {
		return
	}
	of := types.UID(twin.Labels[boursev1.LabelOriginUID])
	switch {
	case !twin.DeletionTimestamp.IsZero():
		m.log = append(m.log, "clear "+string(of))
		twin.Finalizers = nil
		m.must(m.hub.Update(m.Context(), twin))
	case twin.Status.Lease == nil && m.chance(50):
		m.leased[of]++
		m.log = append(m.log, "lease "+string(of))
		twin.Finalizers = []string{marketFinalizer}
		m.must(m.hub.Update(m.Context(), twin))
		twin.Status.Lease = &boursev1.ObjectReference{Namespace: builders.Supplier, Name: twin.Name + "-0a1b2c3d"}
		m.must(m.hub.Client.Status().Update(m.Context(), twin))
		m.must(m.hub.Client.Create(m.Context(), m.lease(twin, "")))
	case twin.Status.Lease == nil && m.chance(30):
		m.log = append(m.log, "tamper "+string(of))
		twin.Spec.DurationSeconds = 60
		m.must(m.hub.Update(m.Context(), twin))
	case twin.Status.Lease != nil && m.chance(50):
		m.log = append(m.log, "end "+string(of))
		meta.SetStatusCondition(&twin.Status.Conditions, condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted, twin.Generation))
		m.must(m.hub.Client.Status().Update(m.Context(), twin))
	case m.chance(20):
		m.log = append(m.log, "delete twin of "+string(of))
		m.must(m.hub.Client.Delete(m.Context(), twin))
	}
}

func (m *model) outage() {
	side := m.hub
	if m.chance(30) {
		side = m.here
	}
	if side.away == nil && m.chance(40) {
		side.away = unavailable()
	} else {
		side.away = nil
	}
	m.log = append(m.log, fmt.Sprintf("%s is away: %v", side.name, side.away != nil))
}

// step does one thing, after which an event may be lost: nobody but chance says which job is looked at, and with how old a cache.
func (m *model) step() {
	m.Helper()
	switch m.rand.IntN(8) {
	case 0, 1:
		m.user()
	case 2:
		m.market()
	case 3:
		m.outage()
	case 4:
		m.hereSeen.sync()
	case 5:
		m.hubSeen.sync()
	default:
		m.visit(m.names[m.rand.IntN(len(m.names))])
	}
}

// visit looks at a job with the caches as they are, while others go on.
func (m *model) visit(name string) {
	m.Helper()
	before := m.find(name)
	interrupt := func() {
		switch {
		case m.chance(4):
			m.user()
		case m.chance(4):
			m.market()
		}
	}
	m.here.between, m.hub.between = interrupt, interrupt
	m.hub.deaf = func() bool { return m.chance(10) }
	m.here.fake.Fail(func(verb string, _ client.Object) error {
		if verb == "patch status" && m.chance(10) { // as if the manager had been killed before
			return unavailable()
		}
		return nil
	})
	m.log = append(m.log, "look at "+name)
	_, err := m.look(name) // it may fail, since either side may be away
	m.here.between, m.hub.between, m.hub.deaf = nil, nil, nil
	m.here.fake.Fail(nil)
	if err != nil {
		m.log = append(m.log, "  "+err.Error())
	}
	if before != nil && m.find(name) == nil && !m.forced[before.UID] && before.DeletionTimestamp != nil {
		for _, twin := range m.twins() {
			if twin.Labels[boursev1.LabelOriginUID] == string(before.UID) {
				m.Errorf("the job %s went before its twin", before.UID)
			}
		}
	}
}

// rest lets everything that is under way come to its end.
func (m *model) rest() {
	m.Helper()
	m.here.away, m.hub.away = nil, nil
	for range 20 {
		quiet := true
		for _, name := range m.names {
			if _, err := m.pass(name); err != nil {
				m.Fatal(err)
			}
			quiet = quiet && len(m.hereWrote)+len(m.hubWrte) == 0
		}
		for _, twin := range m.twins() {
			if !twin.DeletionTimestamp.IsZero() {
				twin.Finalizers, quiet = nil, false
				m.must(m.hub.Update(m.Context(), &twin))
			}
		}
		if quiet {
			return
		}
	}
	m.Errorf("it does not come to rest: here %v, in the hub %v", m.hereWrote, m.hubWrte)
}

// agree checks that both sides say the same.
func (m *model) agree() {
	m.Helper()
	twins := map[types.UID]*boursev1.ComputeJob{}
	foreign := 0
	for _, twin := range m.twins() {
		if twin.Labels[boursev1.LabelOriginCluster] != "cluster-1" {
			foreign++
			continue
		}
		twins[types.UID(twin.Labels[boursev1.LabelOriginUID])] = &twin
	}
	for _, name := range m.names {
		job := m.find(name)
		if job == nil {
			continue
		}
		if !job.DeletionTimestamp.IsZero() {
			m.Errorf("the deleted job %s is still there", job.UID)
		}
		twin := twins[job.UID]
		delete(twins, job.UID)
		if twin == nil {
			if !listing.Ended(job) {
				m.Errorf("the job %s has no twin, and says %+v", job.UID, job.Status.Conditions)
			}
			continue
		}
		mirrored := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMirrored)
		same := apiequality.Semantic.DeepEqual(job.Spec, twin.Spec)
		if mirrored == nil || same != (mirrored.Status == metav1.ConditionTrue) || !same && mirrored.Reason != boursev1.ReasonEditTooLate {
			m.Errorf("the twin of %s has the same spec: %v; the job says %+v", job.UID, same, mirrored)
		}
		if !apiequality.Semantic.DeepEqual(job.Status.Lease, twin.Status.Lease) || listing.Ended(job) != listing.Ended(twin) {
			m.Errorf("the job %s says %+v, its twin %+v", job.UID, job.Status, twin.Status)
		}
	}
	for uid := range twins {
		m.Errorf("the twin of %s has no job", uid)
	}
	if foreign != 1 {
		m.Errorf("%d jobs of another cluster, want the one that was there", foreign)
	}
	for uid, count := range m.leased {
		if count > 1 {
			m.Errorf("the job %s got %d leases", uid, count)
		}
	}
}

// Whatever users, the market and outages do, in any order, with any event or answer lost and any cache behind: in the end both sides agree, no job got
// two leases, and another cluster's twins were not touched.
func TestBothSidesAgreeInTheEnd(t *testing.T) {
	const seeds, steps = 20, 60
	leases := 0
	for seed := range uint64(seeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			m := newModel(t, seed)
			m.hereSeen.sync()
			m.hubSeen.sync()
			for range steps {
				m.step()
			}
			m.rest()
			m.agree()
			leases += len(m.leased)
			if t.Failed() {
				for _, line := range m.log {
					t.Log(line)
				}
			}
		})
	}
	if leases < seeds/2 {
		t.Errorf("the model got but %d leases, which tests little", leases)
	}
}
