// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func daemonSets(t *testing.T, all []*unstructured.Unstructured) []appsv1.DaemonSet {
	t.Helper()
	sets := ofKind(all, "DaemonSet")
	found := make([]appsv1.DaemonSet, 0, len(sets))
	for _, object := range sets {
		found = append(found, convert[appsv1.DaemonSet](t, object))
	}
	return found
}

func TestAgentsRunWhereGPUsAreSold(t *testing.T) {
	cases := map[string]struct {
		args []string
		want int
	}{
		"a supplier":                    {presets["supplier"], 1},
		"a standalone market":           {presets["standalone"], 1},
		"a hub":                         {presets["hub"], 0},
		"a buyer":                       {presets["buyer"], 0},
		"a supplier that does not want": {append(slices.Clone(presets["supplier"]), "--set", "agent.enabled=false"), 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := objects(t, tc.args...)
			if got := len(daemonSets(t, all)); got != tc.want {
				t.Errorf("%d DaemonSets, want %d", got, tc.want)
			}
			for _, object := range all {
				if tc.want == 0 && strings.HasSuffix(object.GetName(), "-agent") {
					t.Errorf("%s %s without agents", object.GetKind(), object.GetName())
				}
			}
		})
	}
}

// An agent sees the host's processes and two of its folders, and has nothing else that it need not.
func TestAgentsHaveNoMoreOfTheNodeThanTheyNeed(t *testing.T) {
	for _, preset := range []string{"supplier", "full"} {
		t.Run(preset, func(t *testing.T) {
			pod := daemonSets(t, objects(t, presets[preset]...))[0].Spec.Template.Spec
			if pod.HostNetwork || pod.HostIPC || !pod.HostPID || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("pod %+v", pod)
			}
			if len(pod.Containers) != 1 || len(pod.InitContainers) > 0 {
				t.Fatalf("%d containers", len(pod.Containers))
			}
			container := pod.Containers[0]
			checkContainer(t, container)
			if container.SecurityContext.Privileged != nil || len(container.SecurityContext.Capabilities.Add) > 0 {
				t.Errorf("security context %+v", container.SecurityContext)
			}
			for resource := range container.Resources.Limits {
				if strings.Contains(string(resource), "/") {
					t.Errorf("it takes %s from others", resource)
				}
			}
			folders := map[string]bool{} // to whether it may write
			for _, volume := range pod.Volumes {
				if volume.HostPath == nil {
					t.Fatalf("volume %+v", volume)
				}
				at := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name })
				folders[volume.HostPath.Path] = !container.VolumeMounts[at].ReadOnly
			}
			if diff := cmp.Diff(map[string]bool{"/var/lib/kubelet/pod-resources": false, "/var/lib/bourse": true}, folders); diff != "" {
				t.Errorf("folders of the host (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgentsHaveTheLeastRights(t *testing.T) {
	granted := map[string]bool{}
	all := objects(t, presets["supplier"]...)
	for _, object := range slices.Concat(ofKind(all, "ClusterRole"), ofKind(all, "Role")) {
		if object.GetName() == "bourse-agent" {
			for _, rule := range convert[rbacv1.Role](t, object).Rules { // the same shape
				grant(t, granted, object.GetKind(), rule)
			}
		}
	}
	want := map[string]bool{"gpunodes/get": true, "gpunodes/create": true, "gpunodes/status/patch": true, "leases/create": true, "leases/patch": true}
	if diff := cmp.Diff(want, granted); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
}

func TestTheManagersObjectsDoNotSelectAgents(t *testing.T) {
	all := objects(t, presets["full"]...)
	labels := daemonSets(t, all)[0].Spec.Template.Labels
	selectors := map[string]map[string]string{"Deployment": deployment(t, all).Spec.Selector.MatchLabels}
	for _, kind := range []string{"Service", "NetworkPolicy", "PodDisruptionBudget"} {
		for _, object := range ofKind(all, kind) {
			path := []string{"spec", "selector"}
			switch kind {
			case "NetworkPolicy":
				path = []string{"spec", "podSelector", "matchLabels"}
			case "PodDisruptionBudget":
				path = []string{"spec", "selector", "matchLabels"}
			}
			selector, _, err := unstructured.NestedStringMap(object.Object, path...)
			if err != nil {
				t.Fatal(err)
			}
			if object.GetName() != "bourse-agent" {
				selectors[kind] = selector
			}
		}
	}
	if len(selectors) != 4 {
		t.Errorf("selectors of %d kinds", len(selectors))
	}
	for kind, selector := range selectors {
		matches := len(selector) > 0
		for key, value := range selector {
			matches = matches && labels[key] == value
		}
		if matches || len(selector) == 0 {
			t.Errorf("the manager's %s selects agents: %v", kind, selector)
		}
	}
}

func TestThePolicyIsOfTheAgentsOwnAccount(t *testing.T) {
	all := objects(t, append(slices.Clone(presets["supplier"]), "--set", "fullnameOverride=gpu")...)
	policy := convert[admissionv1.ValidatingAdmissionPolicy](t, ofKind(all, "ValidatingAdmissionPolicy")[0])
	account := daemonSets(t, all)[0].Spec.Template.Spec.ServiceAccountName
	if got := policy.Spec.MatchConditions[0].Expression; !strings.HasSuffix(got, `"system:serviceaccount:bourse-system:`+account+`"`) || account != "gpu-agent" {
		t.Errorf("the policy is for %s, and the account is %s", got, account)
	}
	if *policy.Spec.FailurePolicy != admissionv1.Fail || len(policy.Spec.Validations) != 3 {
		t.Errorf("policy %+v", policy.Spec)
	}
	off := objects(t, append(slices.Clone(presets["supplier"]), "--set", "agent.admissionPolicy=false")...)
	if got := len(ofKind(off, "ValidatingAdmissionPolicy")) + len(ofKind(off, "ValidatingAdmissionPolicyBinding")); got != 0 {
		t.Errorf("%d objects of a policy that is off", got)
	}
}
