// SPDX-License-Identifier: Apache-2.0

// Package chart renders the Helm chart as users do, and holds it to what was agreed: golden files per preset, a schema that
// refuses misspelt values by name, hardened pods, and the least rights per role. It needs no cluster.
package chart

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	helm   = flag.Bool("helm", false, "render with helm itself, which takes minutes to compile, instead of its engine")
)

const (
	root  = "../.."
	chart = "charts/bourse"
)

// presets are the values that users install with.
var presets = map[string][]string{
	"default":    nil,
	"standalone": {"--values", chart + "/values-standalone.yaml"},
	"hub":        {"--values", chart + "/values-hub.yaml"},
	"supplier":   {"--values", chart + "/values-supplier.yaml"},
	"buyer":      {"--values", chart + "/values-buyer.yaml"},
	"full":       {"--values", "test/chart/testdata/full.yaml"},
}

// render returns what helm would install, or its error.
func render(t *testing.T, args ...string) (string, error) {
	t.Helper()
	all := append([]string{"run", "-C", "hack/tools", "./chart", "template", "--root", root}, append(args, chart)...)
	if *helm {
		all = append([]string{"tool", "-modfile=hack/tools/go.mod", "helm", "template", "bourse", chart, "--namespace", "bourse-system"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), "go", all...)
	cmd.Dir = root
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

// objects renders and parses.
func objects(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	text, err := render(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("parse: %v in\n%s", err, document)
		}
		if object.GetKind() != "" {
			all = append(all, object)
		}
	}
	return all
}

func ofKind(all []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(all), func(o *unstructured.Unstructured) bool { return o.GetKind() != kind })
}

func convert[T any](t *testing.T, object *unstructured.Unstructured) T {
	t.Helper()
	var typed T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &typed, true); err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return typed
}

func deployment(t *testing.T, all []*unstructured.Unstructured) appsv1.Deployment {
	t.Helper()
	found := ofKind(all, "Deployment")
	if len(found) != 1 {
		t.Fatalf("%d Deployments, want 1", len(found))
	}
	return convert[appsv1.Deployment](t, found[0])
}

func TestPresetsRenderAsBefore(t *testing.T) {
	for name, args := range presets {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, append(slices.Clone(args), "--set", "crds.enabled=false")...)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "golden", name+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rendered differently (-want +got), go test ./test/chart -update accepts it:\n%s", diff)
			}
		})
	}
}

func TestTheSchemaRefusesByName(t *testing.T) {
	cases := map[string]struct {
		set  string
		want []string
	}{
		"a misspelt top value":            {"replica=2", []string{"replica"}},
		"a misspelt nested value":         {"chain.url=x", []string{"/chain", "url"}},
		"a role that does not exist":      {"roles={miner}", []string{"/roles/0"}},
		"no role":                         {"roles=null", []string{"roles"}},
		"the same role twice":             {"roles={buyer,buyer}", []string{"/roles"}},
		"an endpoint that is no URL":      {"chain.rpc={localhost}", []string{"/chain/rpc/0"}},
		"no endpoint":                     {"chain.rpc=null", []string{"rpc"}},
		"replicas without an election":    {"replicas=2,leaderElection.enabled=false", []string{"/leaderElection/enabled"}},
		"an interruptible class above 0":  {"priorityClasses.interruptible=5", []string{"/priorityClasses/interruptible"}},
		"a wallet that is no address":     {"members[0].namespace=a,members[0].wallet=0xabc", []string{"/members/0/wallet"}},
		"a member without a wallet":       {"members[0].namespace=a", []string{"/members/0", "wallet"}},
		"a market without rules":          {"market.create=true", []string{"/market/spec", "programID"}},
		"a tag that moves":                {"image.tag=latest", []string{"/image/tag"}},
		"a digest that is none":           {"image.digest=abc", []string{"/image/digest"}},
		"a log level that does not exist": {"logs.level=loud", []string{"/logs/level"}},
		"a number as text":                {"metrics.port=https", []string{"/metrics/port"}},
		"a namespace in capitals":         {"supplier.memberNamespace=Me", []string{"/supplier/memberNamespace"}},
		"a program that is no address":    {"chain.leasePrograms={bourse}", []string{"/chain/leasePrograms/0"}},
		"a cap of a symbol":               {"buyer.dailyCaps={USDC=5}", []string{"/buyer/dailyCaps/0"}},
		"a signer for no wallet":          {"buyer.signer.url=https://signer.example", []string{"/buyer/signer/wallet"}},
		"a password in a signer's URL":    {"supplier.signer.url=https://a:b@signer.example", []string{"/supplier/signer/url"}},
		"a word among the flags":          {"extraArgs={help}", []string{"/extraArgs/0"}},
		"a misspelt value of the agents":  {"agent.enable=true", []string{"/agent", "enable"}},
		"a device that does not exist":    {"agent.devices={tpu}", []string{"/agent/devices/0"}},
		"a device of a machine outside":   {"agent.devices={apple}", []string{"/agent/devices/0"}},
		"an interval without a unit":      {"agent.interval=30", []string{"/agent/interval"}},
		"a folder that is none":           {"agent.keyFolder=bourse", []string{"/agent/keyFolder"}},
		"a hub joined at no URL":          {"join.enabled=true", []string{"/join/url"}},
		"a hub joined by HTTP":            {"join.url=http://join.example", []string{"/join/url"}},
		"members forgotten after a week":  {"join.unseenDays=7", []string{"/join/unseenDays"}},
		"what members may not all read":   {"join.readable={leaseprograms}", []string{"/join/readable/0"}},
		"a gateway without a certificate": {"gateway.enabled=true", []string{"/gateway/certificateSecretName"}},
		"a share of nothing for members":  {"guard.memberShares=0", []string{"/guard/memberShares"}},
		"a spared namespace in capitals":  {"guard.sparedNamespaces={Me}", []string{"/guard/sparedNamespaces/0"}},
		"a hub joined without a key":      {"hub.join.url=https://join.example", []string{"/hub/join/agentKey/secretName"}},
		"a tag of the agents that moves":  {"agent.image.tag=latest", []string{"/agent/image/tag"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, "--set", tc.set)
			if err == nil {
				t.Fatalf("%s was accepted", tc.set)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not name %q:\n%v", part, err)
				}
			}
		})
	}
}

func TestEveryValueIsDescribedAndStrict(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, node map[string]any)
	walk = func(path string, node map[string]any) {
		if node["description"] == nil {
			t.Errorf("%s has no description", path)
		}
		properties, ok := node["properties"].(map[string]any)
		if ok && node["additionalProperties"] != false {
			t.Errorf("%s accepts any name", path)
		}
		for name, child := range properties {
			walk(path+"."+name, child.(map[string]any))
		}
	}
	walk("values", schema)
}

func TestCRDsAreThoseOfTheAPIAndAreKept(t *testing.T) {
	crds := ofKind(objects(t), "CustomResourceDefinition")
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(crds) != len(files) || len(files) == 0 {
		t.Fatalf("%d CRDs in the chart, %d in config/crd/bases (%v)", len(crds), len(files), err)
	}
	for _, crd := range crds {
		if policy := crd.GetAnnotations()["helm.sh/resource-policy"]; policy != "keep" {
			t.Errorf("%s: resource policy %q: a reinstall would delete every object of the kind", crd.GetName(), policy)
		}
		plural, _, _ := strings.Cut(crd.GetName(), ".")
		text, err := os.ReadFile(filepath.Join(root, "config", "crd", "bases", "bourse.dev_"+plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := yaml.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		rendered, err := yaml.Marshal(crd.Object)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(rendered, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want["spec"], got["spec"]); diff != "" {
			t.Errorf("%s is not as generated; run make generate (-want +got):\n%s", crd.GetName(), diff)
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	for name, args := range presets {
		t.Run(name, func(t *testing.T) {
			pod := deployment(t, objects(t, args...)).Spec.Template.Spec
			if pod.HostNetwork || pod.HostPID || pod.ServiceAccountName == "" || pod.ServiceAccountName == "default" {
				t.Errorf("host access or the default service account: %+v", pod)
			}
			if pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || !*pod.SecurityContext.RunAsNonRoot {
				t.Errorf("pod security context %+v", pod.SecurityContext)
			}
			for _, container := range pod.Containers {
				checkContainer(t, container)
			}
			for _, volume := range pod.Volumes {
				if volume.HostPath != nil {
					t.Errorf("volume %s is the host's", volume.Name)
				}
				if volume.Secret != nil && *volume.Secret.DefaultMode&0o027 != 0 {
					t.Errorf("secret %s has mode %o, which the manager refuses", volume.Name, *volume.Secret.DefaultMode)
				}
			}
		})
	}
}

func checkContainer(t *testing.T, container corev1.Container) {
	t.Helper()
	security := container.SecurityContext
	if *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem || !slices.Contains(security.Capabilities.Drop, "ALL") {
		t.Errorf("security context %+v", security)
	}
	if container.LivenessProbe == nil || container.ReadinessProbe == nil {
		t.Error("no probes")
	}
	if container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
		t.Errorf("resources %+v", container.Resources)
	}
	if strings.HasSuffix(container.Image, ":latest") || !strings.Contains(container.Image, ":") {
		t.Errorf("image %s moves", container.Image)
	}
}

func TestEachRoleGetsItsOwnRightsOnly(t *testing.T) {
	cases := map[string]struct {
		preset     string
		may, mayNo []string // resource/verb
	}{
		"the hub runs nothing and holds no key":   {"hub", []string{"gpuleases/create", "settlements/create"}, []string{"pods/create", "secrets/get", "namespaces/create", "vouchers/create", "gpuoffers/create"}},
		"a supplier promises and matches nothing": {"supplier", []string{"pods/create", "gpuoffers/create", "rayclusters/create"}, []string{"vouchers/create", "gpuleases/create", "settlements/create", "secrets/list"}},
		"a buyer touches no pods and no leases":   {"buyer", []string{"vouchers/create", "gpuleases/get", "computejobs/patch", "computejobs/status/patch"}, []string{"computejobs/create", "computejobs/delete", "pods/get", "pods/create", "gpuleases/create", "gpuleases/patch", "gpuoffers/create", "secrets/get"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all, granted := objects(t, presets[tc.preset]...), map[string]bool{}
			for _, binding := range ofKind(all, "ClusterRoleBinding") {
				maps.Copy(granted, rightsOf(t, all, convert[rbacv1.ClusterRoleBinding](t, binding).RoleRef.Name))
			}
			for _, right := range tc.may {
				if !granted[right] {
					t.Errorf("%s is missing", right)
				}
			}
			for _, right := range tc.mayNo {
				if granted[right] {
					t.Errorf("%s is granted", right)
				}
			}
		})
	}
}

// rightsOf are the rights, as resource/verb, of a ClusterRole that is among the objects.
func rightsOf(t *testing.T, all []*unstructured.Unstructured, name string) map[string]bool {
	t.Helper()
	granted := map[string]bool{}
	for _, object := range ofKind(all, "ClusterRole") {
		role := convert[rbacv1.ClusterRole](t, object)
		if role.Name != name {
			continue
		}
		for _, rule := range role.Rules {
			grant(t, granted, role.Name, rule)
		}
	}
	if len(granted) == 0 {
		t.Errorf("there is no ClusterRole %s", name)
	}
	return granted
}

func grant(t *testing.T, granted map[string]bool, role string, rule rbacv1.PolicyRule) {
	t.Helper()
	for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
		if slices.Contains(list, "*") {
			t.Errorf("%s has a wildcard: %+v", role, rule)
		}
	}
	for _, resource := range rule.Resources {
		for _, verb := range rule.Verbs {
			granted[resource+"/"+verb] = true
		}
	}
}

func TestEveryBindingNamesARoleAndTheAccountThatExist(t *testing.T) {
	all := objects(t, presets["full"]...)
	exists := map[string]bool{}
	for _, object := range all {
		exists[object.GetKind()+"/"+object.GetName()] = true
	}
	for _, object := range slices.Concat(ofKind(all, "ClusterRoleBinding"), ofKind(all, "RoleBinding")) {
		binding := convert[rbacv1.RoleBinding](t, object) // the same shape
		if !exists[binding.RoleRef.Kind+"/"+binding.RoleRef.Name] {
			t.Errorf("%s binds %s %s, which is not rendered", binding.Name, binding.RoleRef.Kind, binding.RoleRef.Name)
		}
		for _, subject := range binding.Subjects {
			if subject.Kind == "ServiceAccount" && !exists["ServiceAccount/"+subject.Name] {
				t.Errorf("%s binds the account %s, which is not rendered", binding.Name, subject.Name)
			}
		}
	}
}

func TestTheLeaseIsTheOneThatTheManagerMayUpdate(t *testing.T) {
	for name, args := range presets {
		t.Run(name, func(t *testing.T) {
			all := objects(t, args...)
			var roles string
			for _, arg := range deployment(t, all).Spec.Template.Spec.Containers[0].Args {
				if list, ok := strings.CutPrefix(arg, "--roles="); ok {
					roles = list
				}
			}
			want := "bourse-manager-" + strings.ReplaceAll(roles, ",", "-")
			var names []string
			for _, object := range ofKind(all, "Role") {
				for _, rule := range convert[rbacv1.Role](t, object).Rules {
					if slices.Contains(rule.Resources, "leases") {
						names = append(names, rule.ResourceNames...)
					}
				}
			}
			if diff := cmp.Diff([]string{want}, names); diff != "" {
				t.Errorf("leases (-want +got):\n%s", diff)
			}
		})
	}
}

// A role's manager may look for a pause and book its own wallet's spending, and touch no other ConfigMap.
func TestATreasurysManagerLooksForAPauseAndNothingElse(t *testing.T) {
	all := objects(t, append(slices.Clone(presets["hub"]), "--set", "treasury.keypair.secretName=key")...)
	var rules []rbacv1.PolicyRule
	for _, object := range ofKind(all, "Role") {
		for _, rule := range convert[rbacv1.Role](t, object).Rules {
			if slices.Contains(rule.Resources, "configmaps") {
				rules = append(rules, rule)
			}
		}
	}
	want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"bourse-pause"}, Verbs: []string{"get"}}}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func TestWalletsHaveTheirStateAndNothingElse(t *testing.T) {
	cases := map[string][]string{
		"hub":        nil,
		"buyer":      {"bourse-pause/get", "bourse-spending-buyer/get", "bourse-spending-buyer/update", "/create"},
		"supplier":   {"bourse-pause/get", "bourse-spending-supplier/get", "bourse-spending-supplier/update", "/create"},
		"standalone": {"bourse-pause/get", "bourse-spending-supplier/get", "bourse-spending-supplier/update", "bourse-spending-buyer/get", "bourse-spending-buyer/update", "/create"},
	}
	for preset, want := range cases {
		t.Run(preset, func(t *testing.T) {
			var granted []string
			for _, object := range ofKind(objects(t, presets[preset]...), "Role") {
				for _, rule := range convert[rbacv1.Role](t, object).Rules {
					if !slices.Contains(rule.Resources, "configmaps") {
						continue
					}
					for _, name := range append(slices.Clone(rule.ResourceNames), make([]string, max(0, 1-len(rule.ResourceNames)))...) {
						for _, verb := range rule.Verbs {
							granted = append(granted, name+"/"+verb)
						}
					}
				}
			}
			if diff := cmp.Diff(want, granted); diff != "" {
				t.Errorf("ConfigMaps (-want +granted):\n%s", diff)
			}
		})
	}
}

// The program that a wallet signs for is the named one, or that of the Market which the chart itself makes, and never another.
func TestLeaseProgramsComeFromTheAdministrator(t *testing.T) {
	const program, other = "8AUQgQXnjdKo8trtsaqn9xtM5NXXyE5gB4FG2ydoix6B", "8j492AKJgg99u7pTWxJb8mZYyVxHy45WRC4iExZgdzB6"
	cases := map[string]struct {
		args []string
		want []string
	}{
		"none is named":        {presets["buyer"], nil},
		"one is named":         {append(slices.Clone(presets["buyer"]), "--set", "chain.leasePrograms={"+other+"}"), []string{"--lease-program=" + other}},
		"the market's own":     {presets["full"], []string{"--lease-program=" + program}},
		"named over the own":   {append(slices.Clone(presets["full"]), "--set", "chain.leasePrograms={"+other+"}"), []string{"--lease-program=" + other}},
		"a hub has no wallets": {append(slices.Clone(presets["hub"]), "--set", "chain.leasePrograms={"+other+"}"), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := deployment(t, objects(t, tc.args...)).Spec.Template.Spec.Containers[0].Args
			got := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !strings.HasPrefix(arg, "--lease-program") })
			if len(got) == 0 {
				got = nil
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("programs (-want +got):\n%s", diff)
			}
		})
	}
}
