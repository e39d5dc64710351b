// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var joinable = []string{"--set", "join.enabled=true,join.url=https://join.example"}

func flagsOf(t *testing.T, preset string, more ...string) []string {
	t.Helper()
	return deployment(t, objects(t, append(slices.Clone(presets[preset]), more...)...)).Spec.Template.Spec.Containers[0].Args
}

func TestNobodyCanJoinUnlessTheAdministratorSaysSo(t *testing.T) {
	cases := map[string]struct {
		preset string
		more   []string
		want   bool
	}{
		"a hub as it comes":            {"hub", nil, false},
		"a hub that is open":           {"hub", joinable, true},
		"a supplier, whatever is said": {"supplier", joinable, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := objects(t, append(slices.Clone(presets[tc.preset]), tc.more...)...)
			serves := slices.ContainsFunc(ofKind(all, "Service"), func(o *unstructured.Unstructured) bool { return strings.HasSuffix(o.GetName(), "-join") })
			flagged := strings.Contains(strings.Join(deployment(t, all).Spec.Template.Spec.Containers[0].Args, " "), "--join-address")
			granted := slices.ContainsFunc(ofKind(all, "ClusterRole"), func(o *unstructured.Unstructured) bool { return o.GetName() == "bourse-join" })
			if serves != tc.want || flagged != tc.want || granted != tc.want {
				t.Errorf("service %v, flags %v, rights %v; want %v", serves, flagged, granted, tc.want)
			}
		})
	}
}

// The join server makes tokens of one account, binds one role, and deletes only what it made. Of namespaces and Members that is for a policy
// to say.
func TestTheJoinServersRightsNameWhatTheyAreFor(t *testing.T) {
	all := objects(t, append(slices.Clone(presets["hub"]), joinable...)...)
	for _, object := range ofKind(all, "ClusterRole") {
		if object.GetName() != "bourse-join" {
			continue
		}
		for _, rule := range convert[rbacv1.ClusterRole](t, object).Rules {
			if slices.Equal(rule.Resources, []string{"namespaces"}) || slices.Equal(rule.Resources, []string{"members"}) {
				continue
			}
			delicate := slices.Contains(rule.Verbs, "bind") || slices.Contains(rule.Verbs, "delete") || slices.Contains(rule.Resources, "serviceaccounts/token")
			if delicate && !slices.Equal(rule.ResourceNames, []string{"bourse-member"}) {
				t.Errorf("%+v names nothing", rule)
			}
			if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Verbs, "escalate") || slices.Contains(rule.Verbs, "impersonate") {
				t.Errorf("%+v is too much", rule)
			}
		}
		return
	}
	t.Error("there is no ClusterRole bourse-join")
}

func TestAHubMayAskNewMembersForAStake(t *testing.T) {
	const flag = "--join-min-stake=200"
	if flags := flagsOf(t, "hub", joinable...); slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--join-min-stake") }) {
		t.Errorf("it does by itself: %v", flags)
	}
	if flags := flagsOf(t, "hub", append(slices.Clone(joinable), "--set", "join.minStake=200")...); !slices.Contains(flags, flag) {
		t.Errorf("%s is missing in %v", flag, flags)
	}
}

func TestHowLongMembersThatAreNotSeenAreKept(t *testing.T) {
	for days, flag := range map[string]string{"": "--join-unseen-days=30", "14": "--join-unseen-days=14", "0": "--join-unseen-days=0"} {
		arguments := slices.Clone(joinable)
		if days != "" {
			arguments = append(arguments, "--set", "join.unseenDays="+days)
		}
		if flags := flagsOf(t, "hub", arguments...); !slices.Contains(flags, flag) {
			t.Errorf("%q: %s is missing in %v", days, flag, flags)
		}
	}
}

// What is public is read by all, unless the administrator says otherwise; jobs and programs are not, whatever he says.
func TestMembersReadOfOthersWhatTheAdministratorSays(t *testing.T) {
	for name, tc := range map[string]struct {
		more []string
		want []string
	}{
		"by default":          {nil, []string{"markets", "members", "gpuoffers", "gpuleases", "vouchers", "stakepositions"}},
		"what suppliers need": {[]string{"--set", "join.readable={markets,vouchers}"}, []string{"markets", "vouchers"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, slices.Concat(presets["hub"], joinable, tc.more)...)
			for _, object := range ofKind(all, "ClusterRole") {
				if object.GetName() == "bourse-member-reader" {
					want := []rbacv1.PolicyRule{{APIGroups: []string{"bourse.dev"}, Resources: tc.want, Verbs: []string{"get", "list", "watch"}}}
					if diff := cmp.Diff(want, convert[rbacv1.ClusterRole](t, object).Rules); diff != "" {
						t.Errorf("rules (-want +got):\n%s", diff)
					}
					return
				}
			}
			t.Error("there is no ClusterRole bourse-member-reader")
		})
	}
}

func TestAMemberThatJoinedNeedsNoKubeconfig(t *testing.T) {
	flags := flagsOf(t, "supplier", "--set", "hub.join.url=https://join.example,hub.join.agentKey.secretName=agent,hub.join.caSecretName=ca")
	for _, flag := range []string{"--hub-join=https://join.example", "--hub-join-agent-key=/keys/hub-agent/agent.json", "--hub-join-ca=/hub-join-ca/ca.crt"} {
		if !slices.Contains(flags, flag) {
			t.Errorf("%s is missing in %v", flag, flags)
		}
	}
	for _, flag := range flags {
		if name, _, _ := strings.Cut(flag, "="); name == "--hub-kubeconfig" || name == "--member-namespace" {
			t.Errorf("%s is of another way to the hub", flag)
		}
	}
}

func TestTheJoinServersServiceKeepsAChallengeAtItsReplica(t *testing.T) {
	all := objects(t, presets["full"]...)
	for _, object := range ofKind(all, "Service") {
		if !strings.HasSuffix(object.GetName(), "-join") {
			continue
		}
		spec := convert[corev1.Service](t, object).Spec
		if spec.SessionAffinity != corev1.ServiceAffinityClientIP || spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
			t.Errorf("service %+v", spec)
		}
		return
	}
	t.Error("there is no Service")
}

// A buyer's jobs go into the namespace of its Member: the one that is named, or the one that it joined with.
func TestABuyersJobsGoIntoItsNamespaceOfTheHub(t *testing.T) {
	joined := []string{"--set", "hub.join.url=https://join.example,hub.join.agentKey.secretName=agent"}
	some := []string{"--set", "buyer.jobNamespaces={ml,web}"}
	cases := map[string]struct {
		preset string
		more   []string
		want   []string
	}{
		"by kubeconfig":             {"buyer", nil, []string{"--member-namespace=bourse-buyer"}},
		"of some namespaces":        {"buyer", some, []string{"--member-namespace=bourse-buyer", "--job-namespaces=ml,web"}},
		"by joining":                {"buyer", append(slices.Clone(joined), some...), []string{"--job-namespaces=ml,web"}},
		"with the role supplier":    {"buyer", []string{"--set", "roles={supplier,buyer}"}, []string{"--member-namespace=bourse-supplier"}},
		"in the cluster of the hub": {"standalone", some, []string{"--member-namespace=bourse-supplier"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := slices.DeleteFunc(flagsOf(t, tc.preset, tc.more...), func(flag string) bool {
				name, _, _ := strings.Cut(flag, "=")
				return name != "--member-namespace" && name != "--job-namespaces"
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("flags (-want +got):\n%s", diff)
			}
		})
	}
}
