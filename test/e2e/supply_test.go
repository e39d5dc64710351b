// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var supplyNodes = flag.Int("nodes", 40, "how many fake nodes of 8 GPUs the supply test has")

const (
	gpusPerNode  = 8
	supplyWithin = 3 * time.Minute
	resourceGPU  = "nvidia.com/gpu"
	linger       = "lab.bourse.dev/linger"
)

// What is offered is what nodes and pods leave, however they change; local work takes back what it needs within the notice, and the job
// is told.
func TestOffersAreWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newSupply(t)
	s.agrees("when nothing runs")
	s.localWork()
	s.agrees("among the supplier's own pods")
	s.trouble()
	s.agrees("with nodes that are cordoned, tainted or shared")
	s.withdrawnAtOnce()
	s.takenBack()
	s.faultOnOneGPU() // last, since it is skipped where there is no C compiler
}

// supply is a lab with one large pool.
type supply struct {
	t      *testing.T
	lab    *story.Lab
	teller *story.Teller
	random *rand.Rand
}

func newSupply(t *testing.T) *supply {
	t.Helper()
	s := &supply{
		t: t, lab: up(t, "--fake-nodes", nodesFile(t, *supplyNodes)), teller: story.NewTeller(t.Output(), time.Now),
		random: rand.New(rand.NewPCG(1, 2)),
	}
	if err := s.teller.Offers(t.Context(), s.lab, 1); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *supply) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *supply) await(what string, done func(context.Context) (bool, error)) time.Duration {
	s.t.Helper()
	began := time.Now()
	s.must(s.teller.Wait(s.t.Context(), what, supplyWithin, done))
	return time.Since(began)
}

// agrees waits until the pool's offer is what an independent count of nodes and pods leaves.
func (s *supply) agrees(when string) {
	s.t.Helper()
	var offered, counted map[int32]int32
	took := s.await("the offer to be what is there "+when, func(ctx context.Context) (bool, error) {
		var err error
		if counted, err = s.count(ctx); err != nil {
			return false, err
		}
		offered, err = s.offered(ctx)
		if diff := cmp.Diff(counted, offered); diff != "" && err == nil {
			err = fmt.Errorf("nodes by free GPUs (-counted +offered):\n%s", diff)
		}
		return err == nil, err
	})
	var free int32
	for gpus, nodes := range offered {
		free += gpus * nodes
	}
	s.teller.Say("%d GPUs of %d nodes are offered %s, as counted: after %s", free, *supplyNodes, when, took.Round(100*time.Millisecond))
}

// offered reads the pool's offer: how many nodes have how many free GPUs.
func (s *supply) offered(ctx context.Context) (map[int32]int32, error) {
	var offers boursev1.GPUOfferList
	if err := s.lab.Client.List(ctx, &offers); err != nil {
		return nil, err
	}
	nodes := map[int32]int32{}
	for _, offer := range offers.Items {
		for _, shape := range offer.Spec.Shapes {
			nodes[shape.FreeGPUs] += shape.Nodes
		}
	}
	return nodes, nil
}

// count counts from nodes and pods alone, and shares no code with the operator.
func (s *supply) count(ctx context.Context) (map[int32]int32, error) {
	var nodes corev1.NodeList
	if err := s.lab.Client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	var pods corev1.PodList
	if err := s.lab.Client.List(ctx, &pods); err != nil {
		return nil, err
	}
	held := map[string]int64{}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, container := range pod.Spec.Containers {
			gpus := container.Resources.Requests[resourceGPU]
			held[pod.Spec.NodeName] += gpus.Value()
		}
	}
	byFree := map[int32]int32{}
	for _, node := range nodes.Items {
		gpus := node.Status.Allocatable[resourceGPU]
		usable := !node.Spec.Unschedulable && len(node.Spec.Taints) == 0 && node.Labels["nvidia.com/gpu.replicas"] == "1"
		if free := gpus.Value() - held[node.Name]; usable && free > 0 {
			byFree[int32(free)]++
		}
	}
	return byFree, nil
}

// localPod returns a pod of the supplier's own work.
func localPod(namespace, name string, gpus int64, node string) *corev1.Pod {
	many := corev1.ResourceList{resourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: node},
			Containers: []corev1.Container{{
				Name: "work", Image: "example.com/work:1", Resources: corev1.ResourceRequirements{Requests: many, Limits: many},
			}},
		},
	}
}

// localWork starts pods of equal names in two namespaces on half of the nodes. Some of them fail at once.
func (s *supply) localWork() {
	s.t.Helper()
	for _, namespace := range []string{"team-a", "team-b"} {
		s.must(s.lab.Client.Create(s.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	}
	for i, node := range s.nodes() {
		if i%2 == 0 {
			continue
		}
		for _, namespace := range []string{"team-a", "team-b"} {
			pod := localPod(namespace, "work-"+node, 1+s.random.Int64N(gpusPerNode/2), node)
			if s.random.IntN(5) == 0 {
				pod.Annotations = map[string]string{"lab.bourse.dev/end": "Failed"}
			}
			s.must(s.create(pod))
		}
	}
}

// create makes a pod; a new namespace may not have its service account yet.
func (s *supply) create(pod *corev1.Pod) error {
	return s.teller.Wait(s.t.Context(), "pod "+pod.Name+" to be admitted", supplyWithin, func(ctx context.Context) (bool, error) {
		err := s.lab.Client.Create(ctx, pod)
		return err == nil || apierrors.IsAlreadyExists(err), err
	})
}

// nodes lists the names of all nodes in order.
func (s *supply) nodes() []string {
	s.t.Helper()
	var nodes corev1.NodeList
	s.must(s.lab.Client.List(s.t.Context(), &nodes))
	names := make([]string, 0, len(nodes.Items))
	for _, node := range nodes.Items {
		names = append(names, node.Name)
	}
	slices.Sort(names)
	return names
}

// trouble cordons a node, taints one, and lets one hand each of its GPUs out several times.
func (s *supply) trouble() {
	s.t.Helper()
	changes := []func(*corev1.Node){
		func(n *corev1.Node) { n.Spec.Unschedulable = true },
		func(n *corev1.Node) {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "team", Value: "a", Effect: corev1.TaintEffectNoSchedule})
		},
		func(n *corev1.Node) { n.Labels["nvidia.com/gpu.replicas"] = "4" },
	}
	for i, name := range s.nodes()[:len(changes)] {
		s.change(name, changes[i])
	}
}

func (s *supply) change(name string, change func(*corev1.Node)) {
	s.t.Helper()
	var node corev1.Node
	s.must(s.lab.Client.Get(s.t.Context(), keyOf(name), &node))
	before := node.DeepCopy()
	change(&node)
	s.must(s.lab.Client.Patch(s.t.Context(), &node, client.MergeFrom(before)))
}

// withdrawnAtOnce measures how long the market is offered what local work has taken.
func (s *supply) withdrawnAtOnce() {
	s.t.Helper()
	const times = 10
	names := s.nodes()
	all := make([]time.Duration, 0, times)
	for i := range times {
		node := names[len(names)-2-2*i] // one of those without local work
		before, err := s.offered(s.t.Context())
		s.must(err)
		s.must(s.create(localPod("team-a", fmt.Sprintf("sudden-%d", i), gpusPerNode, node)))
		began := time.Now()
		for {
			now, err := s.offered(s.t.Context())
			s.must(err)
			if !maps.Equal(before, now) {
				break
			}
			if time.Since(began) > supplyWithin {
				s.t.Fatal("the offer did not change")
			}
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	s.teller.Say("what local pods take is withdrawn from the market within %s, %s at the most",
		all[times/2].Round(time.Millisecond), all[times-1].Round(time.Millisecond))
	s.must(s.lab.Client.DeleteAllOf(s.t.Context(), &corev1.Pod{}, client.InNamespace("team-a"), client.GracePeriodSeconds(0)))
	s.agrees("after some of them ended")
}

// takenBack lets a job run on a whole node, and gives the supplier's own pod the same node. The job's pods use their whole notice.
func (s *supply) takenBack() {
	s.t.Helper()
	ctx := s.t.Context()
	job := s.lease("whole-node", 1, gpusPerNode)
	pods, err := story.Pods(ctx, s.lab, job)
	s.must(err)
	var node string
	for i := range pods {
		before := pods[i].DeepCopy()
		pods[i].Annotations = map[string]string{linger: "true"}
		s.must(s.lab.Client.Patch(ctx, &pods[i], client.MergeFrom(before)))
		if gpus := pods[i].Spec.Containers[0].Resources.Requests[resourceGPU]; gpus.Value() == gpusPerNode {
			node = pods[i].Spec.NodeName
		}
	}
	local := localPod("team-b", "needs-it-back", gpusPerNode, node)
	s.must(s.create(local))
	began := time.Now()
	told := s.await("the job to be told", func(ctx context.Context) (bool, error) {
		err := s.teller.Look(ctx, s.lab, job)
		return err == nil && isTold(job), err
	})
	s.await("the supplier's pod to run", func(ctx context.Context) (bool, error) {
		err := s.lab.Client.Get(ctx, client.ObjectKeyFromObject(local), local)
		return local.Status.Phase == corev1.PodRunning, err
	})
	took := time.Since(began)
	notice := time.Duration(job.Lease.Spec.Terms.NoticeSeconds) * time.Second
	s.teller.Say("the job was told after %s, and its GPUs were back after %s with a notice of %s",
		told.Round(time.Millisecond), took.Round(time.Millisecond), notice)
	if took < notice-2*time.Second {
		s.t.Errorf("the job had %s, and was promised %s", took, notice)
	}
	_ = s.await("the lease to end", func(ctx context.Context) (bool, error) {
		err := s.teller.Look(ctx, s.lab, job)
		return err == nil && job.Lease.Status.End != nil, err
	})
	if end := job.Lease.Status.End; end.Reason != boursev1.EndTakenBack || end.Party != boursev1.PartySupplier {
		s.t.Errorf("the lease ended as %+v", end)
	}
	s.must(s.teller.Table(ctx, s.lab, "get", "computejobs,gpuleases,gpupools", "-A"))
}

// lease runs an interactive job with so many workers of so many GPUs.
func (s *supply) lease(name string, workers, each int) *story.Job {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(samples, "computejob-interactive-io.yaml"))
	s.must(err)
	manifest := strings.NewReplacer(
		"name: notebook", "name: "+name, "workers: 2", fmt.Sprintf("workers: %d", workers), "perWorker: 4", fmt.Sprintf("perWorker: %d", each),
		"durationSeconds: 60", "durationSeconds: 600",
	).Replace(string(text))
	file := filepath.Join(s.t.TempDir(), "job.yaml")
	s.must(os.WriteFile(file, []byte(manifest), 0o600))
	job, err := s.teller.Apply(s.t.Context(), s.lab, file)
	s.must(err)
	s.must(s.teller.Running(s.t.Context(), s.lab, job))
	return job
}

// keyOf is the key of an object without a namespace.
func keyOf(name string) client.ObjectKey { return client.ObjectKey{Name: name} }

// isTold says whether the job's buyer can read that its GPUs are taken back, why, and until when they can be used.
func isTold(job *story.Job) bool {
	notice := job.Object.Status.Notice
	return notice != nil && notice.Cause == boursev1.NoticePreempted && !notice.Until.IsZero()
}
