// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testPlan() Plan {
	return Plan{
		Namespace: "bourse-lease-train", Lease: "train", Image: "ray:2.54.1", HoldImage: "pause:1", Version: "2.54.1", Token: "Ray's",
		Program: "print(1)", Run: "python /bourse/program.py", Env: []corev1.EnvVar{{Name: "A", Value: "b"}},
		Workers: 2, PerWorker: 4, WorkerCPU: resource.MustParse("3"), WorkerMemory: resource.MustParse("8Gi"),
		HeadCPU: resource.MustParse("1"), HeadMemory: resource.MustParse("2Gi"),
		Priority: "bourse-interruptible", Notice: 30, NodeSelector: map[string]string{"pool": "a"}, Products: []string{"NVIDIA-L4"},
		Egress: boursev1.EgressNone,
	}
}

// podSpecs returns the specs of every pod that the plan leads to.
func podSpecs(t *testing.T, plan Plan) map[string]corev1.PodSpec {
	t.Helper()
	specs := map[string]corev1.PodSpec{}
	for _, holder := range plan.Holders() {
		specs[holder.Name] = holder.Spec
	}
	objects := plan.Objects()
	var cluster rayv1.RayClusterSpec
	switch of := objects[len(objects)-1].(type) {
	case *rayv1.RayCluster:
		cluster = of.Spec
	case *rayv1.RayJob:
		cluster = *of.Spec.RayClusterSpec
	default:
		t.Fatalf("the last object is a %T", of)
	}
	specs["head"] = cluster.HeadGroupSpec.Template.Spec
	specs["worker"] = cluster.WorkerGroupSpecs[0].Template.Spec
	return specs
}

func TestPodsKeepToTheRestrictedStandard(t *testing.T) {
	for name, spec := range podSpecs(t, testPlan()) {
		t.Run(name, func(t *testing.T) {
			container := spec.Containers[0]
			switch {
			case spec.HostNetwork || spec.HostPID || spec.HostIPC:
				t.Error("it shares a namespace of its host")
			case *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks:
				t.Error("it is given a token, or the names of services")
			case !*spec.SecurityContext.RunAsNonRoot || *spec.SecurityContext.RunAsUser == 0:
				t.Error("it may run as root")
			case spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
				t.Error("it has no seccomp profile")
			case *container.SecurityContext.AllowPrivilegeEscalation || container.SecurityContext.Capabilities.Drop[0] != "ALL":
				t.Error("it has privileges")
			case container.ImagePullPolicy != corev1.PullIfNotPresent:
				t.Errorf("image pull policy %s", container.ImagePullPolicy)
			case !cmp.Equal(container.Resources.Requests, container.Resources.Limits):
				t.Error("it requests something else than it limits")
			case spec.PriorityClassName != "bourse-interruptible":
				t.Errorf("priority class %q", spec.PriorityClassName)
			}
			for _, volume := range spec.Volumes {
				if volume.HostPath != nil {
					t.Errorf("volume %s is a folder of its host", volume.Name)
				}
			}
		})
	}
}

func TestContainersWithoutGPUSeeNone(t *testing.T) {
	for name, spec := range podSpecs(t, testPlan()) {
		gpus := spec.Containers[0].Resources.Limits[ResourceGPU]
		hidden := false
		for _, variable := range spec.Containers[0].Env {
			hidden = hidden || variable.Name == "NVIDIA_VISIBLE_DEVICES" && variable.Value == "void"
		}
		if gpus.IsZero() != hidden {
			t.Errorf("%s: %s GPUs, and hidden is %t", name, gpus.String(), hidden)
		}
	}
}

func TestHoldersRequestWhatTheRayPodsWill(t *testing.T) {
	plan := testPlan()
	specs := podSpecs(t, plan)
	for holder, holds := range map[string]string{"hold-head": "head", "hold-0": "worker", "hold-1": "worker"} {
		want, got := specs[holds].Containers[0].Resources, specs[holder].Containers[0].Resources
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", holder, diff)
		}
	}
	if got := len(plan.Holders()); got != 3 {
		t.Errorf("%d pods hold the place of 3", got)
	}
}

func TestRayPodsArePinnedToTheHosts(t *testing.T) {
	plan := testPlan()
	plan.Hosts, plan.HeadHosts = []string{"n1", "n2"}, []string{"n1", "n2", "n3"}
	specs := podSpecs(t, plan)
	for name, want := range map[string][]string{"worker": plan.Hosts, "head": plan.HeadHosts} {
		var got []string
		for _, term := range specs[name].Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			got = append(got, term.MatchFields[0].Values...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("hosts of the %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestObjects(t *testing.T) {
	plan := testPlan()
	job, ok := plan.Objects()[2].(*rayv1.RayJob)
	if !ok || job.Spec.Entrypoint != plan.Run || job.Spec.SubmissionMode != rayv1.HTTPMode || job.Spec.ShutdownAfterJobFinishes {
		t.Errorf("a program is not run by a RayJob that keeps its pods: %+v", job)
	}
	auth := job.Spec.RayClusterSpec.AuthOptions
	secret, ok := plan.Objects()[0].(*corev1.Secret)
	if !ok || auth.Mode != rayv1.AuthModeToken || *auth.SecretName != secret.Name || Token(secret) != plan.Token || Token(secret) == "" {
		t.Errorf("the cluster has no token of ours: %+v of %+v", auth, secret)
	}
	plan.Run, plan.Program = "", ""
	objects := plan.Objects()
	if _, ok := objects[1].(*rayv1.RayCluster); !ok || len(objects) != 2 {
		t.Errorf("an interactive lease is %d objects, the second a %T", len(objects), objects[1])
	}
}

// Besides the lease's own pods, the two operators reach the dashboard, and nothing else of the lease.
func TestOnlyTheOperatorsReachTheDashboard(t *testing.T) {
	plan := testPlan()
	plan.System = "bourse-system"
	for _, wall := range plan.Walls() {
		policy, ok := wall.(*networkingv1.NetworkPolicy)
		if !ok || policy.Name == "default-deny" {
			continue
		}
		within, operators := policy.Spec.Ingress[0], policy.Spec.Ingress[1]
		if len(policy.Spec.Ingress) != 2 || len(within.From) != 1 || within.From[0].NamespaceSelector != nil {
			t.Errorf("ingress %+v", policy.Spec.Ingress)
		}
		want := networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "bourse-system"}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"bourse.dev/part": "manager"}},
		}
		if diff := cmp.Diff(want, operators.From[1]); diff != "" || len(operators.From) != 2 {
			t.Errorf("our operator (-want +got):\n%s", diff)
		}
		if len(operators.Ports) != 1 || operators.Ports[0].Port.IntValue() != 8265 {
			t.Errorf("ports %+v", operators.Ports)
		}
	}
}

func rayPod(name, kind, address string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"ray.io/node-type": kind}}, Status: corev1.PodStatus{PodIP: address},
	}
}

func TestContainersAreFoundByTheirPlace(t *testing.T) {
	going, host := rayPod("ray-head-a", "head", "10.0.0.9"), rayPod("worker-c", "worker", "192.0.2.1")
	going.DeletionTimestamp, host.Spec.HostNetwork = new(metav1.Now()), true
	pods := []corev1.Pod{
		going, rayPod("ray-head-b", "head", "10.0.0.1"), host, rayPod("worker-a", "worker", "10.0.0.2"), {ObjectMeta: metav1.ObjectMeta{Name: "hold-0"}},
	}
	if head, ok := Head(pods); !ok || head != (Container{Pod: "ray-head-b", Name: "ray-head", Host: "10.0.0.1"}) {
		t.Errorf("head %+v, %v", head, ok)
	}
	for number, want := range []Container{{Pod: "worker-a", Name: "ray-worker", Host: "10.0.0.2"}, {Pod: "worker-c", Name: "ray-worker"}} {
		if got, ok := Worker(pods, number); !ok || got != want {
			t.Errorf("worker %d: %+v, %v", number, got, ok)
		}
	}
	for _, number := range []int{-1, 2} {
		if got, ok := Worker(pods, number); ok {
			t.Errorf("worker %d: %+v", number, got)
		}
	}
	if _, ok := Head(pods[2:]); ok {
		t.Error("there is a head among workers")
	}
}

func TestANamespaceBelongsToItsLease(t *testing.T) {
	plan := testPlan()
	plan.Namespace = LeaseSpace(plan.Lease)
	if !Belongs(plan.Space(), plan.Lease) || Belongs(plan.Space(), "other") || Belongs(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: plan.Namespace}}, plan.Lease) {
		t.Error("a namespace is another's")
	}
	long := strings.Repeat("long", 20)
	if name := LeaseSpace(long); len(name) > 63 || name == LeaseSpace(long+"er") {
		t.Errorf("namespace %s", name)
	}
}

// egressOf returns the address blocks that the lease may reach, and those within them that it may not.
func egressOf(t *testing.T, plan Plan) (allowed, except []netip.Prefix) {
	t.Helper()
	for _, wall := range plan.Walls() {
		policy, ok := wall.(*networkingv1.NetworkPolicy)
		if !ok {
			continue
		}
		for _, rule := range policy.Spec.Egress {
			if len(rule.To) == 0 {
				t.Fatal("a rule without peers allows everything")
			}
			for _, peer := range rule.To {
				if peer.IPBlock == nil {
					continue
				}
				allowed = append(allowed, netip.MustParsePrefix(peer.IPBlock.CIDR))
				for _, cidr := range peer.IPBlock.Except {
					except = append(except, netip.MustParsePrefix(cidr))
				}
			}
		}
	}
	return allowed, except
}

func TestEgress(t *testing.T) {
	cases := map[string]struct {
		egress  boursev1.Egress
		address string
		want    bool
	}{
		"none reaches nothing":                   {boursev1.EgressNone, "93.184.216.34", false},
		"registry reaches the registry":          {boursev1.EgressRegistry, "192.168.7.9", true},
		"registry reaches nothing else":          {boursev1.EgressRegistry, "93.184.216.34", false},
		"internet reaches public addresses":      {boursev1.EgressInternet, "93.184.216.34", true},
		"internet reaches public IPv6 addresses": {boursev1.EgressInternet, "2606:2800::1", true},
		"internet never reaches metadata":        {boursev1.EgressInternet, "169.254.169.254", false},
		"internet never reaches private nets":    {boursev1.EgressInternet, "10.96.0.1", false},
		"internet never reaches carrier nets":    {boursev1.EgressInternet, "100.64.3.2", false},
		"internet never reaches unique local":    {boursev1.EgressInternet, "fd00::1", false},
		"internet never reaches link-local":      {boursev1.EgressInternet, "fe80::1", false},
		"internet reaches the registry too":      {boursev1.EgressInternet, "192.168.7.9", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plan := testPlan()
			plan.Egress, plan.RegistryCIDRs = tc.egress, []string{"192.168.7.0/24"}
			address := netip.MustParseAddr(tc.address)
			got := false
			for _, wall := range plan.Walls() {
				policy, ok := wall.(*networkingv1.NetworkPolicy)
				if !ok {
					continue
				}
				for _, rule := range policy.Spec.Egress {
					for _, peer := range rule.To {
						got = got || peer.IPBlock != nil && reaches(*peer.IPBlock, address)
					}
				}
			}
			if got != tc.want {
				t.Errorf("%s is reached: %t, want %t", tc.address, got, tc.want)
			}
		})
	}
	open := testPlan()
	open.Egress = boursev1.EgressInternet
	allowed, except := egressOf(t, open)
	for _, inner := range except {
		within := false
		for _, outer := range allowed {
			within = within || outer.Overlaps(inner) && outer.Bits() < inner.Bits()
		}
		if !within {
			t.Errorf("%s is excluded from nothing, which the API server refuses", inner)
		}
	}
}

func reaches(block networkingv1.IPBlock, address netip.Addr) bool {
	if !netip.MustParsePrefix(block.CIDR).Contains(address) {
		return false
	}
	for _, cidr := range block.Except {
		if netip.MustParsePrefix(cidr).Contains(address) {
			return false
		}
	}
	return true
}

func TestDefaultIsDeny(t *testing.T) {
	policy, ok := testPlan().Walls()[0].(*networkingv1.NetworkPolicy)
	if !ok || len(policy.Spec.Ingress) != 0 || len(policy.Spec.Egress) != 0 || len(policy.Spec.PolicyTypes) != 2 {
		t.Errorf("the first wall is %+v, want one that denies all", policy)
	}
}

func TestOnlyFirmLeasesRefuseEviction(t *testing.T) {
	budget := func(plan Plan) *policyv1.PodDisruptionBudget {
		for _, wall := range plan.Walls() {
			if found, ok := wall.(*policyv1.PodDisruptionBudget); ok {
				return found
			}
		}
		return nil
	}
	plan := testPlan()
	if got := budget(plan); got != nil {
		t.Errorf("an interruptible lease has the budget %+v", got.Spec)
	}
	plan.Firm = true
	got := budget(plan)
	if got == nil {
		t.Fatal("a firm lease has no budget")
	}
	// The disruption controller looks up the scale of the pods' owner for anything but a number, and Ray's kinds have none.
	most := 2 * len(plan.Holders()) // when each Ray pod and the one that held its place are there
	if least := got.Spec.MinAvailable; least == nil || got.Spec.MaxUnavailable != nil || least.IntValue() < most {
		t.Errorf("the budget is %+v", got.Spec)
	}
	selector, err := metav1.LabelSelectorAsSelector(got.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, holder := range plan.Holders() {
		if !selector.Matches(labels.Set(holder.Labels)) {
			t.Errorf("the budget does not cover %s", holder.Name)
		}
	}
	cluster := plan.cluster()
	for _, of := range []map[string]string{cluster.HeadGroupSpec.Template.Labels, cluster.WorkerGroupSpecs[0].Template.Labels} {
		if !selector.Matches(labels.Set(of)) {
			t.Errorf("the budget does not cover a Ray pod with the labels %v", of)
		}
	}
}

func TestANodeInTroubleDoesNotPutPodsOut(t *testing.T) {
	for name, spec := range podSpecs(t, testPlan()) {
		for _, key := range []string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady} {
			tolerated := func(effect corev1.TaintEffect) bool {
				taint := corev1.Taint{Key: key, Effect: effect}
				return slices.ContainsFunc(spec.Tolerations, func(of corev1.Toleration) bool {
					return of.TolerationSeconds == nil && of.ToleratesTaint(logr.Discard(), &taint, false)
				})
			}
			if !tolerated(corev1.TaintEffectNoExecute) || tolerated(corev1.TaintEffectNoSchedule) {
				t.Errorf("%s: with %s it must stay, and nothing new may come", name, key)
			}
		}
	}
}

func TestQuotaAdmitsHoldersAndRayPods(t *testing.T) {
	plan := testPlan()
	quota := plan.quota().Spec.Hard
	total := corev1.ResourceList{}
	add := func(spec corev1.PodSpec, times int) {
		for range times {
			for name, amount := range spec.Containers[0].Resources.Requests {
				sum := total[name]
				sum.Add(amount)
				total[name] = sum
			}
		}
	}
	specs := podSpecs(t, plan)
	add(specs["head"], 2)
	add(specs["worker"], 2*int(plan.Workers))
	for name, needed := range total {
		if hard := quota["requests."+name]; hard.Cmp(needed) != 0 {
			t.Errorf("%s: the quota is %s, and the pods need %s", name, hard.String(), needed.String())
		}
	}
}

// worker is a ready worker.
func worker(name string, change func(*corev1.Pod)) corev1.Pod {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelNodeType: "worker"}, CreationTimestamp: metav1.NewTime(noon)},
		Spec:       corev1.PodSpec{NodeName: "node-" + name},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(time.Minute))},
		}},
	}
	if change != nil {
		change(&pod)
	}
	return pod
}

func readyAt(at time.Time, status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.Conditions[0].Status, pod.Status.Conditions[0].LastTransitionTime = status, metav1.NewTime(at)
	}
}

// going lets a pod be deleted with a minute of grace, so that it is killed at that moment.
func going(until time.Time) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(metav1.NewTime(until)), new(int64(60))
	}
}

func TestRead(t *testing.T) {
	type seen struct {
		Workers, Ready int
		Since          time.Time
		Silent         bool
	}
	two, three := noon.Add(2*time.Minute), noon.Add(3*time.Minute)
	cases := map[string]struct {
		pods  []corev1.Pod
		nodes map[string]Node
		want  seen
	}{
		"nothing is there": {nil, nil, seen{}},
		"the last one to become ready counts": {
			[]corev1.Pod{worker("a", nil), worker("b", readyAt(two, "True"))}, nil, seen{Workers: 2, Ready: 2, Since: two},
		},
		"the first one to cease counts": {
			[]corev1.Pod{worker("a", readyAt(three, "False")), worker("b", readyAt(two, "False"))}, nil, seen{Workers: 2, Since: two},
		},
		"of a missing one it is not known when it went": {
			[]corev1.Pod{worker("a", nil)}, nil, seen{Workers: 1, Ready: 1},
		},
		"one in its notice is ready until it ceases to be": {
			[]corev1.Pod{worker("a", nil), worker("b", going(three))}, nil, seen{Workers: 1, Ready: 2, Since: noon.Add(time.Minute)},
		},
		"one whose notice has ended it ceases when it says so": {
			[]corev1.Pod{worker("a", nil), worker("b", func(pod *corev1.Pod) {
				going(three)(pod)
				readyAt(two, "False")(pod)
			})}, nil, seen{Workers: 1, Ready: 1, Since: two},
		},
		"one on a silent node is not seen": {
			[]corev1.Pod{worker("a", nil), worker("b", readyAt(two, "False"))},
			map[string]Node{"node-b": {Silent: true}},
			seen{Workers: 2, Ready: 1, Since: two, Silent: true},
		},
		"one that has ended is not ready": {
			[]corev1.Pod{worker("a", nil), worker("b", func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed })},
			nil,
			seen{Workers: 2, Ready: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			state := Read(tc.pods, 2, tc.nodes)
			got := seen{state.Workers, state.Ready, state.Since, state.Silent}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutcomeOf(t *testing.T) {
	end := metav1.NewTime(noon)
	told := func(at time.Time) *rayv1.RayJob {
		status := rayv1.RayJobStatus{JobStatus: rayv1.JobStatusSucceeded, EndTime: &end}
		status.RayJobStatusInfo.EndTime = new(metav1.NewTime(at))
		return &rayv1.RayJob{Status: status}
	}
	unseen := told(noon)
	unseen.Status.EndTime = nil
	cases := map[string]struct {
		object client.Object
		want   Outcome
		ended  bool
	}{
		"a failure says its first line only": {
			&rayv1.RayJob{Status: rayv1.RayJobStatus{
				JobStatus: rayv1.JobStatusFailed, EndTime: &end,
				Message: "exit code 1, last available logs (truncated to 20,000 chars):\n\x1b[1mTraceback",
			}},
			Outcome{At: noon, Message: "exit code 1"},
			true,
		},
		"a cluster does not end":   {&rayv1.RayCluster{}, Outcome{}, false},
		"a program that runs":      {&rayv1.RayJob{Status: rayv1.RayJobStatus{JobStatus: rayv1.JobStatusRunning}}, Outcome{}, false},
		"a program that ends well": {&rayv1.RayJob{Status: rayv1.RayJobStatus{JobStatus: rayv1.JobStatusSucceeded, EndTime: &end}}, Outcome{Well: true, At: noon}, true},
		"a program that fails": {
			&rayv1.RayJob{Status: rayv1.RayJobStatus{JobStatus: rayv1.JobStatusFailed, Message: "exit 1", EndTime: &end}},
			Outcome{At: noon, Message: "exit 1"},
			true,
		},
		"one of whose end KubeRay heard a little later":     {told(noon.Add(-3 * time.Second)), Outcome{Well: true, At: noon.Add(-3 * time.Second)}, true},
		"one that says it ended before what is paid for":    {told(noon.Add(-time.Hour)), Outcome{Well: true, At: noon.Add(-heardWithin)}, true},
		"one that says it ended after KubeRay heard of it":  {told(noon.Add(time.Hour)), Outcome{Well: true, At: noon}, true},
		"one of which nobody but itself says when it ended": {unseen, Outcome{Well: true}, true},
		"one that never started": {
			&rayv1.RayJob{Status: rayv1.RayJobStatus{JobDeploymentStatus: rayv1.JobDeploymentStatusFailed, Reason: rayv1.SubmissionFailed}},
			Outcome{Message: "SubmissionFailed"},
			true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ended := OutcomeOf(tc.object)
			if diff := cmp.Diff(tc.want, got); diff != "" || ended != tc.ended {
				t.Errorf("ended %t, want %t (-want +got):\n%s", ended, tc.ended, diff)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for version, supported := range map[string]bool{"2.52.0": true, "2.54.1": true, "3.0.0": true, "2.51.9": false, "1.99.0": false, "two": false} {
		if got := Unsupported(version) == ""; got != supported {
			t.Errorf("Ray %s is supported: %t, want %t", version, got, supported)
		}
	}
}
