// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// fjord is a member that joined and sold.
const fjord = "member-3f0c1a2b3c4d5e6f708192a3b4c5d6e7"

// known is a hub with a supplier that is known, a newcomer that is suspended, and a buyer.
func known(t *testing.T) *fakehub.Hub {
	t.Helper()
	seller := builders.Member(fjord)
	seller.Spec.DisplayName = "Fjord GPU and the rest of a very long name"
	seller.Spec.Roles = []boursev1.MemberRole{boursev1.MemberSupplier, boursev1.MemberBuyer}
	seller.Status.Conditions[0].Message = "The member takes part"
	seller.Status.Reputation = &boursev1.MemberReputation{
		Score: "0.93", Standing: boursev1.StandingKnown, OverallPPM: new(int32(931_000)),
		Completion: &boursev1.ReputationPart{PPM: new(int32(971_234)), Good: "93.12", Bad: "1.80"},
		Uptime:     &boursev1.ReputationPart{PPM: new(int32(890_000)), Good: "640.00", Bad: "79.10"},
	}
	stake := builders.StakePosition(fjord)
	stake.Status.Amount = "1600.00 IO"
	stake.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.Ready, metav1.ConditionTrue, "Bonded")}
	newcomer := builders.Member("rome-dc")
	newcomer.Spec.State, newcomer.Spec.DisplayName = boursev1.MemberSuspended, "Rome"
	newcomer.Status.Reputation = &boursev1.MemberReputation{Score: "0.50", Standing: boursev1.StandingNewcomer, OverallPPM: new(int32(0))}
	return fakehub.New(t, nil, seller, stake, newcomer, builders.Member(builders.Buyer))
}

func shownMembers(t *testing.T, hub client.Client, name string) (string, []string, error) {
	t.Helper()
	var out bytes.Buffer
	hidden, err := output("").members(t.Context(), &out, hub, builders.Buyer, name)
	for line := range strings.Lines(out.String()) {
		if long := utf8.RuneCountInString(strings.TrimRight(line, "\n")); long > width {
			t.Errorf("a line has %d characters: %s", long, line)
		}
	}
	return out.String(), hidden, err
}

func TestMembersAreShownWithTheirStanding(t *testing.T) {
	got, hidden, err := shownMembers(t, known(t), "")
	want := `NAME                    NAMESPACE           ROLES        SCORE  DONE  UP   METER  PROOF  STAKE       STATE
Fjord GPU and the res…  member-3f0c1a2b3c…  buys, sells  0.93   97%   89%  –      –      1600.00 IO  ready
Rome                    rome-dc             –            0.50   –     –    –      –      –           suspended
–                       team-a              –            –      –     –    –      –      –           ready
`
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(hidden) > 0 {
		t.Errorf("%v, hidden %v (-want +got):\n%s", err, hidden, diff)
	}
}

func TestAMemberIsShownInFull(t *testing.T) {
	want := `Member      Fjord GPU and the rest of a very long name
Namespace   ` + fjord + `
Wallet      ` + string(builders.Address(fjord)) + `
Roles       buys, sells
State       ready: The member takes part
Since       2027-03-01T12:00:00Z
Stake       1600.00 IO, Bonded
Score       0.93, known
  done      97%: 93.12 speak for it and 1.80 against
  up        89%: 640.00 speak for it and 79.10 against
  meter     no evidence yet
  proof     no evidence yet
`
	hub := known(t)
	for _, name := range []string{"fjord gpu and the rest of a very long name", "member-3f0c1a2b3c…", fjord, string(builders.Address(fjord))} {
		got, _, err := shownMembers(t, hub, name)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if _, _, err := shownMembers(t, hub, "nobody"); err == nil || !strings.Contains(err.Error(), "no member nobody") {
		t.Errorf("a member that is not there: %v", err)
	}
}

func TestAMemberIsShownThatItIsToBeLetGo(t *testing.T) {
	const line = "Let go      at 2027-03-08T12:00:00Z at the earliest, unless its manager or its wallet asks for access: nothing was seen of it on"
	cases := map[string]struct {
		unseen *boursev1.MemberUnseen
		shown  bool
	}{
		"one that is seen":                  {nil, false},
		"one that was not seen for a while": {&boursev1.MemberUnseen{Days: new(int32(22))}, false},
		"one that is told": {&boursev1.MemberUnseen{
			Days: new(int32(23)), Until: new(metav1.NewTime(builders.Start.AddDate(0, 0, 7))),
		}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub := known(t)
			m := builders.Member(fjord)
			hub.Read(m)
			m.Status.Unseen = tc.unseen
			hub.EditStatus(m)
			got, _, err := shownMembers(t, hub, fjord)
			if words := strings.Join(strings.Fields(got), " "); err != nil || strings.Contains(words, strings.Join(strings.Fields(line), " ")+" 23 days") != tc.shown {
				t.Errorf("%v:\n%s", err, got)
			}
		})
	}
}

func TestWhoMayNotReadAllMembersIsShownItself(t *testing.T) {
	got, hidden, err := shownMembers(t, shut{Client: known(t), kinds: []string{"Member", "StakePosition"}, open: builders.Buyer}, "")
	if diff := cmp.Diff([]string{"members", "stakepositions"}, hidden); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, builders.Buyer) {
		t.Errorf("it is shown\n%s", got)
	}
}
