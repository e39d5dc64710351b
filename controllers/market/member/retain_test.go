// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// mostDays is after how many days the market of these tests lets a member go.
const mostDays = 30

// retainBench is a market in which a member that joined, the supplier, is never seen, and its neighbour asks for access every day.
type retainBench struct {
	*connectBench

	access *remover
}

func newRetainBench(t *testing.T, objects ...client.Object) *retainBench {
	t.Helper()
	hub, r := newBench(t, append(objects, supplierOnly(), member("neighbour", "n", 0))...)
	b := &retainBench{&connectBench{T: t, hub: hub, r: r}, &remover{hub: hub, joined: true}}
	b.begins()
	b.pass()
	return b
}

// begins starts the market anew: nothing of what was before is in its memory.
func (b *retainBench) begins() {
	b.Helper()
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Live: b.hub, Now: b.hub.Now, Access: b.access, MostUnseen: mostDays}
	b.census()
}

// census looks at the signs of all managers.
func (b *retainBench) census() {
	b.Helper()
	c := &census{hub: b.hub, seen: &b.r.seen, woken: make(chan event.GenericEvent, 10), now: b.hub.Now}
	if err := c.look(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// asks has somebody ask for access in a member's name, as the join server writes it down.
func (b *retainBench) asks(namespace string) {
	b.Helper()
	m := builders.Member(namespace)
	b.hub.Read(m)
	m.Spec.AskedAt = new(metav1.NewTime(b.hub.Now()))
	m.Spec.Leave = nil
	b.hub.Edit(m)
}

// days lets whole days pass, on each of which somebody else asks, and holds that what was written is not written twice.
func (b *retainBench) days(many int) {
	b.Helper()
	for range many {
		b.hub.Step(day)
		b.asks("neighbour")
		b.census()
		b.pass()
		if b.get().Spec.Leave != nil || b.get().Status.Unseen != nil && *b.get().Status.Unseen.Days >= mostDays {
			return
		}
		if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
			b.Errorf("the second pass wrote %v", wrote)
		}
	}
}

func (b *retainBench) get() *boursev1.Member {
	b.Helper()
	m := supplierOnly()
	b.hub.Read(m)
	return m
}

// counted is on how many days nothing was seen of the member; -1 says that nobody counts.
func (b *retainBench) counted() int {
	b.Helper()
	if unseen := b.get().Status.Unseen; unseen != nil {
		return int(*unseen.Days)
	}
	return -1
}

// told is when the member is let go, as it is told; nothing while it is not.
func (b *retainBench) told() *metav1.Time {
	b.Helper()
	m := b.get()
	retained := meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberRetained)
	says := retained != nil && retained.Status == metav1.ConditionFalse && retained.Reason == boursev1.ReasonUnseen
	if m.Status.Unseen == nil || m.Status.Unseen.Until == nil {
		if says {
			b.Errorf("Retained is %+v, without a time", retained)
		}
		return nil
	}
	if !says {
		b.Errorf("Retained is %+v, want it False", retained)
	}
	return m.Status.Unseen.Until
}

func TestAMemberThatIsNotSeenIsToldAndLetGo(t *testing.T) {
	b := newRetainBench(t)
	if got := b.counted(); got != -1 {
		t.Errorf("%d days are counted of one that has just joined", got)
	}
	b.days(1)
	if got := b.counted(); got != 0 {
		t.Errorf("%d days are counted when the first begins", got)
	}
	b.days(mostDays - noticeDays - 1)
	if got, told := b.counted(), b.told(); got != mostDays-noticeDays-1 || told != nil {
		t.Errorf("after %d days it is told that it goes at %v", got, told)
	}
	events := b.hub.Events()
	b.days(1)
	goes := b.hub.Now().Add(noticeDays * day)
	if told := b.told(); told == nil || !told.Time.Equal(goes) || b.hub.Events() != events+1 {
		t.Fatalf("it is told that it goes at %v, want %v, with %d events", told, goes, b.hub.Events()-events)
	}
	if m := b.get(); !meta.IsStatusConditionTrue(m.Status.Conditions, boursev1.Ready) {
		t.Error("it may not take part any more")
	}
	b.days(noticeDays - 1)
	if told := b.told(); b.counted() != mostDays-1 || !told.Time.Equal(goes) {
		t.Errorf("after %d days it is told that it goes at %v", b.counted(), told)
	}
	b.days(1)
	if got := b.get(); got.Spec.Leave != nil || b.counted() != mostDays {
		t.Fatalf("it leaves, %+v, before the last day is written down", got.Spec.Leave)
	}
	b.pass()
	if got := b.get().Spec.Leave; got == nil || got.Mode != boursev1.LeaveUnseen {
		t.Fatalf("spec.leave is %+v", got)
	}
	b.pass()
	if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
		t.Errorf("while it leaves, a second pass wrote %v", wrote)
	}
	b.hub.Step(quiet)
	look(t, b.hub, b.r)
	look(t, b.hub, b.r)
	m := supplierOnly()
	if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) || b.access.stays {
		t.Errorf("it is still there: %v, with its namespace: %t", err, b.access.stays)
	}
	b.hub.Read(member("neighbour", "n", 0))
}

func TestWhoComesBackStays(t *testing.T) {
	asks := func(b *retainBench) { b.asks(builders.Supplier) }
	shows := func(b *retainBench) {
		b.beats("supplier")
		b.census()
	}
	cases := map[string]struct {
		after int // days
		how   func(b *retainBench)
		tells bool
	}{
		"who asks on the first day":                       {1, asks, false},
		"who asks before it was told":                     {10, asks, false},
		"who asks after it was told":                      {mostDays - 2, asks, true},
		"who asks when all days are over":                 {mostDays + 1, asks, true},
		"who asks when it is being let go":                {mostDays + 2, asks, true},
		"whose manager shows itself before it was told":   {10, shows, false},
		"whose manager shows itself after it was told":    {mostDays - 2, shows, true},
		"whose manager shows itself when all are over":    {mostDays + 1, shows, true},
		"who asks of a clock that goes a little too fast": {mostDays - 2, func(b *retainBench) { b.hub.Step(time.Minute); asks(b); b.hub.Step(-time.Minute) }, true},
		"who asked while the market's leader was away": {mostDays - 2, func(b *retainBench) {
			b.hub.Step(time.Hour)
			asks(b)
			b.hub.Step(9 * day)
			b.begins()
			b.hub.Step(settle)
		}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newRetainBench(t)
			b.days(tc.after)
			if tc.after > mostDays+1 {
				b.pass()
			}
			tc.how(b)
			b.pass()
			m := b.get()
			retained := meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberRetained)
			if m.Spec.Leave != nil || b.counted() > 0 || (retained != nil) != tc.tells || retained != nil && retained.Reason != boursev1.ReasonSeen {
				t.Errorf("leave %+v, unseen %+v, Retained %+v", m.Spec.Leave, m.Status.Unseen, retained)
			}
			if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
			b.days(3)
			if got := b.counted(); got > 3 {
				t.Errorf("three days later %d days are counted: it does not begin anew", got)
			}
		})
	}
}

// staked is a stake of the supplier.
func staked(bonded, unbonding *int64) *boursev1.StakePosition {
	return &boursev1.StakePosition{
		ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: boursev1.OwnStakeName},
		Status:     boursev1.StakePositionStatus{Bonded: bonded, Unbonding: unbonding},
	}
}

func TestWhatKeepsAMemberThatIsNotSeen(t *testing.T) {
	cases := map[string]struct {
		object func(t *testing.T) client.Object
		change func(b *retainBench)
		kept   bool
	}{
		"nothing": {},
		"a lease of its GPUs that runs": {
			object: func(t *testing.T) client.Object { t.Helper(); return runs(t) }, kept: true,
		},
		"a lease of its GPUs that was paid, which audits need": {
			object: func(t *testing.T) client.Object { t.Helper(); return over(t, boursev1.ReasonClosed) }, kept: true,
		},
		"a lease that was paid, of one that may not take part and is not rated": {
			object: func(t *testing.T) client.Object { t.Helper(); return over(t, boursev1.ReasonClosed) },
			change: func(b *retainBench) {
				if err := b.hub.Create(b.Context(), member("older", builders.Supplier, time.Hour)); err != nil {
					b.Fatal(err)
				}
			},
			kept: true,
		},
		"not that it may not take part": {change: func(b *retainBench) {
			if err := b.hub.Create(b.Context(), member("older", builders.Supplier, time.Hour)); err != nil {
				b.Fatal(err)
			}
		}},
		"a lease of its job that runs": {
			object: func(t *testing.T) client.Object {
				t.Helper()
				lease := bought(runs(t))
				lease.Spec.Escrow.Deadline = metav1.NewTime(builders.Start.Add(30 * day))
				return lease
			}, kept: true,
		},
		"not a lease of its job that nothing was paid for": {
			object: func(t *testing.T) client.Object { t.Helper(); return bought(over(t, boursev1.ReasonNothingOwed)) },
		},
		"what it has at stake": {
			object: func(*testing.T) client.Object { return staked(new(int64(1)), new(int64(0))) }, kept: true,
		},
		"what is on its way back": {
			object: func(*testing.T) client.Object { return staked(new(int64(0)), new(int64(1))) }, kept: true,
		},
		"a stake of which the chain has said nothing": {
			object: func(*testing.T) client.Object { return staked(nil, nil) }, kept: true,
		},
		"not a stake that it took back": {
			object: func(*testing.T) client.Object { return staked(new(int64(0)), new(int64(0))) },
		},
		"not a job that waits": {object: func(*testing.T) client.Object {
			job := builders.Job("mine")
			job.Namespace = builders.Supplier
			return job
		}},
		"that an administrator made it": {change: func(b *retainBench) { b.access.joined = false }, kept: true},
		"that it is suspended": {change: func(b *retainBench) {
			m := b.get()
			m.Spec.State = boursev1.MemberSuspended
			b.hub.Edit(m)
		}, kept: true},
		"that the market keeps everybody": {change: func(b *retainBench) { b.r.MostUnseen = 0 }, kept: true},
		"that nobody can join any more":   {change: func(b *retainBench) { b.r.Access = nil }, kept: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var objects []client.Object
			if tc.object != nil {
				objects = append(objects, tc.object(t))
			}
			b := newRetainBench(t, objects...)
			if tc.change != nil {
				tc.change(b)
			}
			b.days(3)
			if got := b.counted(); got != map[bool]int{true: -1, false: 2}[tc.kept] {
				t.Errorf("%d days are counted", got)
			}
		})
	}
}

// What comes to keep a member after days were counted ends the count; but whoever leaves by himself goes as he said.
func TestWhatEndsTheCount(t *testing.T) {
	cases := map[string]func(b *retainBench){
		"a suspension": func(b *retainBench) {
			m := b.get()
			m.Spec.State = boursev1.MemberSuspended
			b.hub.Edit(m)
		},
		"a market that keeps everybody": func(b *retainBench) { b.r.MostUnseen = 0 },
		"that its wallet has signed that it leaves": func(b *retainBench) {
			m := b.get()
			m.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(b.hub.Now()), Mode: boursev1.LeaveWhenSettled}
			b.hub.Edit(m)
			b.r.Access = nil // so that it is kept, and can be looked at
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			b := newRetainBench(t)
			b.days(mostDays - 1)
			if b.told() == nil {
				t.Fatal("it is not told")
			}
			change(b)
			b.pass()
			b.hub.Step(quiet)
			b.pass()
			m := b.get()
			if m.Status.Unseen != nil || meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberRetained) != nil {
				t.Errorf("unseen %+v, conditions %+v", m.Status.Unseen, m.Status.Conditions)
			}
			if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestWhoIsToldHasTheWholeNoticeWhateverTheMarketAsksFor(t *testing.T) {
	b := newRetainBench(t)
	b.days(20 + 1)
	b.r.MostUnseen = 14
	b.days(1)
	goes := b.hub.Now().Add(noticeDays * day)
	if told := b.told(); told == nil || !told.Time.Equal(goes) {
		t.Fatalf("told %v, want %v", told, goes)
	}
	for range noticeDays - 1 {
		b.days(1)
		if told := b.told(); !told.Time.Equal(goes) || b.get().Spec.Leave != nil {
			t.Fatalf("told %v, and leave is %+v", told, b.get().Spec.Leave)
		}
	}
	b.r.MostUnseen = 3650
	b.hub.Step(day)
	b.asks("neighbour")
	if m, _ := look(t, b.hub, b.r); m.Spec.Leave != nil || m.Status.Unseen.Until != nil ||
		meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberRetained) != nil {
		t.Errorf("when the market waits for longer: leave %+v, unseen %+v, conditions %+v", m.Spec.Leave, m.Status.Unseen, m.Status.Conditions)
	}
}

func TestWhoIsToldDoesNotGoEarlier(t *testing.T) {
	b := newRetainBench(t)
	b.days(mostDays - noticeDays + 1)
	goes := b.told()
	if goes == nil {
		t.Fatal("it is not told")
	}
	b.r.MostUnseen -= 3
	b.days(1)
	if told := b.told(); !told.Equal(goes) {
		t.Errorf("when the market waits for less it goes at %v, want %v", told, goes)
	}
	b.hub.Step(36 * time.Hour) // nobody looked in time
	b.r.MostUnseen += 3
	b.days(1)
	if told := b.told(); !told.After(goes.Time) {
		t.Errorf("when days were not counted it goes at %v, want it after %v", told, goes)
	}
}

func TestWhenAMemberIsLookedAtAgain(t *testing.T) {
	b := newRetainBench(t)
	looks := func(want time.Duration, about string) {
		t.Helper()
		if _, result := look(t, b.hub, b.r); result != (reconcile.Result{RequeueAfter: want}) {
			t.Errorf("%s: %+v, want %s", about, result, want)
		}
	}
	looks(day, "one that was seen")
	b.hub.Step(day)
	b.begins()
	looks(settle+spread(supplierOnly()), "one of a market that has just begun")
	b.days(2)
	b.hub.Step(20 * time.Hour)
	looks(4*time.Hour, "one whose day is not over")
	b.hub.Step(24 * time.Hour)
	looks(settle, "one whose day cannot be counted")
	b.asks("neighbour")
	looks(day, "one whose day was counted")
	b.days(mostDays)
	b.hub.Edit(b.get())
	m := b.get()
	m.Status.Unseen.Days = new(int32(mostDays - 1))
	b.hub.EditStatus(m)
	b.hub.Step(day)
	b.asks("neighbour")
	looks(time.Second, "one whose last day was counted")
}

func TestMembersDoNotAllComeAtOnce(t *testing.T) {
	const many = 1000
	var quarters [4]int
	for i := range many {
		part := spread(builders.Member(fmt.Sprintf("member-%d", i)))
		if part < 0 || part >= settle {
			t.Fatalf("it waits for %s", part)
		}
		quarters[part*4/settle]++
	}
	if slices.Min(quarters[:]) < many/5 {
		t.Errorf("in the quarters of an hour come %v of %d", quarters, many)
	}
}

func TestWhatCannotBeFoundOutLetsNobodyGo(t *testing.T) {
	down := errors.New("the API server is down")
	b := newRetainBench(t)
	b.days(mostDays + 1)
	b.access.err = down
	if _, err := b.r.Reconcile(t.Context(), b.get()); !errors.Is(err, down) {
		t.Errorf("got %v, want %v", err, down)
	}
	b.access.err = nil
	stale := b.get()
	b.asks("neighbour")
	b.asks(builders.Supplier)
	b.hub.Step(-day) // as if what it asked were not to be seen, but for the version
	if result, err := b.r.Reconcile(t.Context(), stale); err != nil {
		t.Errorf("one that has changed: %+v, %v", result, err)
	}
	if got := b.get().Spec.Leave; got != nil {
		t.Errorf("it leaves: %+v", got)
	}
}
