// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// longestProgram is how many lines a sample's program may have, so that it can be read at a glance.
const longestProgram = 40

// build returns what kustomize makes of a folder.
func build(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", folder)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("build %s: %v: %s", folder, err, stderr.String())
	}
	var all []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(output), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
	return all
}

func TestKustomizeRunsTheManagerAsTheChartDoes(t *testing.T) {
	fromKustomize, fromChart := deployment(t, build(t, "config/default")), deployment(t, objects(t))
	if diff := cmp.Diff(shape(fromChart), shape(fromKustomize)); diff != "" {
		t.Errorf("config/manager differs from the chart (-chart +kustomize):\n%s", diff)
	}
}

// shape is what both ways of installing must agree on; the flags that the chart adds have the same values by default.
func shape(d appsv1.Deployment) appsv1.DeploymentSpec {
	spec := d.DeepCopy().Spec
	spec.Selector, spec.Template.ObjectMeta = nil, d.Spec.Template.ObjectMeta
	spec.Template.Labels, spec.Template.Spec.ServiceAccountName = nil, ""
	container := &spec.Template.Spec.Containers[0]
	var flags []string
	for _, flag := range container.Args {
		switch name, _, _ := strings.Cut(flag, "="); name {
		case "--chain-timeout", "--signer-timeout", "--hold-image", "--log-level", "--log-format":
		default:
			flags = append(flags, flag)
		}
	}
	container.Args, container.ImagePullPolicy = flags, ""
	return spec
}

func TestSamplesAreOfTheAPIAndHoldNoSecret(t *testing.T) {
	kinds := map[string]int{}
	for _, object := range build(t, "config/samples") {
		kinds[object.GetKind()]++
		switch object.GetKind() {
		case "ComputeJob":
			job := convert[boursev1.ComputeJob](t, object)
			if lines := strings.Count(job.Spec.Ray.Program, "\n"); lines > longestProgram {
				t.Errorf("%s: the program has %d lines, want at most %d", job.Name, lines, longestProgram)
			}
		case "GPUPool":
			convert[boursev1.GPUPool](t, object)
		case "Market":
			convert[boursev1.Market](t, object)
		case "Member":
			convert[boursev1.Member](t, object)
		case "StakePosition":
			convert[boursev1.StakePosition](t, object)
		}
	}
	want := map[string]int{"Namespace": 2, "Market": 1, "Member": 2, "GPUPool": 1, "ComputeJob": 3, "StakePosition": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}
