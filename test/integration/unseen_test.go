// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/builders"
)

// unseenLab is a hub with a member that is never seen, and one that asks for access every day.
type unseenLab struct {
	*joinLab

	idle, active string // their namespaces
}

// patch changes a member's spec, as the hub's administrator may, which also brings it back to the market.
func (l *unseenLab) patch(namespace string, spec map[string]any) {
	l.Helper()
	text, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		l.Fatal(err)
	}
	if err := l.admin.Patch(l.Context(), l.member(namespace), client.RawPatch(types.MergePatchType, text)); err != nil {
		l.Fatal(err)
	}
}

// looked brings the idle member back to the market until it says what it is to say. No clock but the hub's is moved, so nothing else does. That
// goes on by a minute each time, since the market says nothing in the hour after it began to look, which may be now.
func (l *unseenLab) looked(what string, says func(m *boursev1.Member) bool) {
	l.Helper()
	times := 0
	l.eventually(what, func() bool {
		times++
		l.moved.Add(int64(time.Minute))
		l.patch(l.idle, map[string]any{"displayName": time.Now().String()[:30]})
		return says(l.member(l.idle))
	})
	l.Logf("%s: looked at %d times", what, times)
}

// days lets days pass on each of which the other member asks for access, until so many are counted in all.
func (l *unseenLab) days(counted int32) {
	l.Helper()
	for unseen := l.member(l.idle).Status.Unseen; unseen == nil || *unseen.Days < counted; unseen = l.member(l.idle).Status.Unseen {
		next := int32(0)
		if unseen != nil {
			next = *unseen.Days + 1
		}
		l.moved.Add(int64(24*time.Hour + time.Minute))
		l.patch(l.active, map[string]any{"askedAt": l.now().UTC().Format(time.RFC3339)})
		l.looked("a day is counted", func(m *boursev1.Member) bool { return m.Status.Unseen != nil && *m.Status.Unseen.Days == next })
	}
}

func TestAMemberThatIsNotSeenIsToldAndLetGo(t *testing.T) {
	const notice = 7
	l := &unseenLab{joinLab: newJoinLab(t)}
	// Nobody ends namespaces here, so a second run needs another one.
	wallet, agent := builders.Wallet("idler of "+time.Now().String()), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	l.idle, l.active = access.Namespace, l.must(l.send(join.Join, builders.Wallet("active"), agent)).Namespace
	l.count(access.Namespace)
	own := l.as(access)

	l.days(mostDays - notice)
	// It sees by its own rights that it is to go, and when.
	told := &boursev1.Member{}
	if err := own.Get(t.Context(), client.ObjectKey{Namespace: l.idle, Name: boursev1.MemberName}, told); err != nil {
		t.Fatal(err)
	}
	if retained := meta.FindStatusCondition(told.Status.Conditions, boursev1.MemberRetained); retained == nil ||
		retained.Status != metav1.ConditionFalse || retained.Reason != boursev1.ReasonUnseen || told.Status.Unseen.Until == nil {
		t.Fatalf("it is told %+v, %+v", retained, told.Status.Unseen)
	}
	// Its agent may renew no more, but that it asks shows that it is there.
	if _, err := l.send(join.Renew, wallet, agent); !errors.Is(err, join.Expired) {
		t.Errorf("got %v, want %s", err, join.Expired)
	}
	stays := func(m *boursev1.Member) bool {
		return m.Spec.Leave == nil && m.Status.Unseen == nil && kube.IsTrue(m, boursev1.MemberRetained) && kube.IsTrue(m, boursev1.Ready)
	}
	l.looked("who asks stays", stays)

	leaves := func(m *boursev1.Member) bool { return m.Spec.Leave != nil && m.Spec.Leave.Mode == boursev1.LeaveUnseen }
	l.days(mostDays)
	l.looked("it is let go", leaves)
	l.must(l.send(join.Join, wallet, agent))
	l.looked("who joins once more stays", stays)

	own = l.as(l.must(l.send(join.Renew, wallet, agent)))
	l.days(mostDays)
	l.eventually("it is gone, and there is no need to look", func() bool {
		var members boursev1.MemberList
		if err := l.admin.List(t.Context(), &members, client.InNamespace(l.idle)); err != nil {
			t.Fatal(err)
		}
		return len(members.Items) == 0
	})
	l.hasLeft(wallet, own, l.idle)
	if l.space(l.idle).DeletionTimestamp.IsZero() {
		t.Error("its namespace stays, though nobody needs what is in it")
	}
	l.member(l.active) // fails if it is gone
}
