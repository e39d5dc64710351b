// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

const membersLong = `Says who takes part in the market, and what each one's standing is: its reputation with its parts (leases done, hours up, records that
agree, proofs), and its own stake. With a name, a namespace, the beginning of one, or a wallet, only those members, in full.

Where you may not read all members, it shows those of your namespace.`

const membersExample = `  kubectl bourse members
  kubectl bourse members "Fjord GPU"
  kubectl bourse members -o json`

func newMembers(hub *hubFlags) *cobra.Command {
	var form output
	cmd := &cobra.Command{
		Use:     "members [MEMBER]",
		Aliases: []string{"member"},
		Short:   "Say who takes part in the market, and what each one's standing is",
		Long:    membersLong,
		Example: membersExample,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opened, namespace, err := hub.open()
			if err != nil {
				return err
			}
			hidden, err := form.members(cmd.Context(), cmd.OutOrStdout(), opened, namespace, nameFrom(args))
			for _, kind := range hidden {
				cmd.PrintErrf("you may not read the %s of all, so what they say is left out\n", kind)
			}
			return err
		},
	}
	form.add(cmd.Flags())
	return cmd
}

// members prints all members, or those of a name in full, and returns what the caller may not read of all.
func (o output) members(ctx context.Context, to io.Writer, hub client.Client, namespace, name string) (hidden []string, err error) {
	members, hidden, err := readMembers(ctx, hub, namespace)
	if err != nil {
		return nil, err
	}
	if name != "" {
		members = slices.DeleteFunc(members, func(m memberLine) bool { return !m.is(name) })
		if len(members) == 0 {
			return hidden, fmt.Errorf("there is no member %s that you may read", name)
		}
	}
	return hidden, o.print(to, members, func() error { return printMembers(to, members, name != "") })
}

// memberLine is what is told of a member.
type memberLine struct {
	Namespace  string                     `json:"namespace"`
	Name       string                     `json:"name,omitempty"`
	Wallet     boursev1.SolanaAddress     `json:"wallet"`
	Roles      []boursev1.MemberRole      `json:"roles,omitempty"`
	State      string                     `json:"state"`
	Message    string                     `json:"message,omitempty"`
	Since      metav1.Time                `json:"since"`
	Reputation *boursev1.MemberReputation `json:"reputation,omitempty"`
	Stake      string                     `json:"stake,omitempty"`
	StakeState string                     `json:"stakeState,omitempty"`
	Unseen     *boursev1.MemberUnseen     `json:"unseen,omitempty"`
}

// readMembers reads all members with their stakes, as far as the caller may, and says which kinds it may not.
func readMembers(ctx context.Context, hub client.Client, namespace string) (lines []memberLine, hidden []string, err error) {
	var members boursev1.MemberList
	var stakes boursev1.StakePositionList
	for kind, list := range map[string]client.ObjectList{"members": &members, "stakepositions": &stakes} {
		err := hub.List(ctx, list)
		if apierrors.IsForbidden(err) {
			hidden = append(hidden, kind)
			err = hub.List(ctx, list, client.InNamespace(namespace))
		}
		if err != nil && (kind == "members" || !apierrors.IsForbidden(err)) {
			return nil, nil, fmt.Errorf("read %s: %w", kind, err)
		}
	}
	slices.Sort(hidden)
	for i := range members.Items {
		member := &members.Items[i]
		line := memberLine{
			Namespace: member.Namespace, Name: member.Spec.DisplayName, Wallet: member.Spec.Wallet, Roles: member.Spec.Roles,
			Since: member.CreationTimestamp, Reputation: member.Status.Reputation, Unseen: member.Status.Unseen,
		}
		line.State, line.Message = standingOf(member)
		for j := range stakes.Items {
			if stake := &stakes.Items[j]; stake.Namespace == member.Namespace && stake.Name == boursev1.OwnStakeName {
				line.Stake = stake.Status.Amount
				line.StakeState = reasonOf(stake.Status.Conditions)
			}
		}
		lines = append(lines, line)
	}
	slices.SortStableFunc(lines, func(a, b memberLine) int {
		return cmp.Or(strings.Compare(b.score(), a.score()), strings.Compare(a.called(), b.called()))
	})
	return lines, hidden, nil
}

// standingOf says whether the member takes part.
func standingOf(member *boursev1.Member) (state, message string) {
	ready := meta.FindStatusCondition(member.Status.Conditions, boursev1.Ready)
	switch {
	case member.Spec.State == boursev1.MemberSuspended:
		state = "suspended"
	case ready == nil:
		state = "not looked at yet"
	case ready.Status == metav1.ConditionTrue:
		state = "ready"
	default:
		state = ready.Reason
	}
	if ready != nil {
		message = ready.Message
	}
	return state, message
}

func reasonOf(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, boursev1.Ready); ready != nil {
		return ready.Reason
	}
	return ""
}

func (m memberLine) called() string { return cmp.Or(m.Name, m.Namespace) }

// score is what the member's offers are ranked with; nothing for who never sold.
func (m memberLine) score() string {
	if m.Reputation == nil {
		return ""
	}
	return m.Reputation.Score
}

// is says whether a word is meant for the member.
func (m memberLine) is(word string) bool {
	return strings.EqualFold(word, m.Name) || strings.HasPrefix(m.Namespace, strings.TrimSuffix(word, "…")) || word == string(m.Wallet)
}

func printMembers(to io.Writer, members []memberLine, full bool) error {
	if full {
		return printMembersInFull(to, members)
	}
	if len(members) == 0 {
		_, err := fmt.Fprintln(to, "The market has no members.")
		return err
	}
	const mostName, mostNamespace, mostStake, mostState = 22, 18, 14, 16
	rows := make([][]string, 0, len(members))
	for _, m := range members {
		row := []string{short(cmp.Or(m.Name, none), mostName), short(m.Namespace, mostNamespace), rolesOf(m.Roles), cmp.Or(m.score(), none)}
		for _, part := range parts(m.Reputation) {
			row = append(row, part.percent())
		}
		rows = append(rows, append(row, short(cmp.Or(m.Stake, none), mostStake), short(m.State, mostState)))
	}
	return table(to, "NAME|NAMESPACE|ROLES|SCORE|DONE|UP|METER|PROOF|STAKE|STATE", rows)
}

func printMembersInFull(to io.Writer, members []memberLine) error {
	const label = 12
	var out strings.Builder
	say := func(name, text string) { fmt.Fprintf(&out, "%-*s%s\n", label, name, wrapped(text, label)) }
	for i, m := range members {
		if i > 0 {
			out.WriteByte('\n')
		}
		say("Member", cmp.Or(m.Name, none))
		say("Namespace", m.Namespace)
		say("Wallet", string(m.Wallet))
		say("Roles", rolesOf(m.Roles))
		say("State", strings.TrimSuffix(m.State+": "+m.Message, ": "))
		say("Since", m.Since.UTC().Format(time.RFC3339))
		if u := m.Unseen; u != nil && u.Days != nil && u.Until != nil {
			say("Let go", fmt.Sprintf("at %s at the earliest, unless its manager or its wallet asks for access: nothing was seen of it on %d days",
				u.Until.UTC().Format(time.RFC3339), *u.Days))
		}
		say("Stake", strings.TrimSuffix(cmp.Or(m.Stake, none)+", "+m.StakeState, ", "))
		if r := m.Reputation; r == nil {
			say("Score", "none: nobody has leased from it yet")
		} else {
			say("Score", fmt.Sprintf("%s, %s", r.Score, strings.ToLower(string(r.Standing))))
			for _, part := range parts(r) {
				say("  "+part.name, part.text())
			}
		}
	}
	_, err := io.WriteString(to, out.String())
	return err
}

// part is one of the things that a supplier is measured by.
type part struct {
	name string
	of   *boursev1.ReputationPart
}

func parts(reputation *boursev1.MemberReputation) []part {
	if reputation == nil {
		reputation = &boursev1.MemberReputation{}
	}
	return []part{{"done", reputation.Completion}, {"up", reputation.Uptime}, {"meter", reputation.Metering}, {"proof", reputation.Proof}}
}

// percent is the part's score; a part without evidence has none.
func (p part) percent() string {
	if p.of == nil || p.of.PPM == nil {
		return none
	}
	const ppmPerPercent = 10_000
	return fmt.Sprintf("%d%%", *p.of.PPM/ppmPerPercent)
}

func (p part) text() string {
	if p.of == nil {
		return "no evidence yet"
	}
	return fmt.Sprintf("%s: %s speak for it and %s against", p.percent(), p.of.Good, p.of.Bad)
}

// rolesOf says what a member joined for. Members that an administrator made say nothing of it.
func rolesOf(roles []boursev1.MemberRole) string {
	if len(roles) == 0 {
		return none
	}
	words := make([]string, len(roles))
	for i, role := range roles {
		words[i] = map[boursev1.MemberRole]string{boursev1.MemberBuyer: "buys", boursev1.MemberSupplier: "sells"}[role]
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
