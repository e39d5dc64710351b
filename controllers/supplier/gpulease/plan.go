// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/ray"
)

const labelMemory = "nvidia.com/gpu.memory"

// space is the name of the lease's namespace in the supplier's cluster.
func space(lease *boursev1.GPULease) string { return ray.LeaseSpace(lease.Name) }

// errNoProgram says that what the lease runs is not here.
var errNoProgram = errors.New("the lease's program is not here")

// program returns what the lease runs, as the market gave it to the supplier: errNoProgram while it has not. Whether it is what the lease
// names is for the caller to see.
func (r *Reconciler) program(ctx context.Context, lease *boursev1.GPULease) (*boursev1.LeaseProgram, error) {
	var program boursev1.LeaseProgram
	err := r.Hub.Get(ctx, client.ObjectKeyFromObject(lease), &program)
	if apierrors.IsNotFound(err) {
		return nil, errNoProgram
	}
	if err != nil {
		return nil, fmt.Errorf("get program: %w", err)
	}
	return &program, nil
}

// plan says how the lease runs its program. It does not yet say where.
func (r *Reconciler) plan(lease *boursev1.GPULease, program *boursev1.RayProgram) ray.Plan {
	priority := ray.PriorityInterruptible
	if firm(lease) {
		priority = ray.PriorityFirm
	}
	env := make([]corev1.EnvVar, 0, len(program.Env))
	for _, variable := range program.Env {
		var value string
		if variable.Value != nil {
			value = *variable.Value
		}
		env = append(env, corev1.EnvVar{Name: variable.Name, Value: value})
	}
	return ray.Plan{
		Namespace: space(lease), Lease: lease.Name, System: r.System,
		Image: program.Image, HoldImage: r.HoldImage, Version: program.Version,
		Program: program.Program, Run: program.Entrypoint, Env: append(env, partEnv(lease)...),
		Workers: lease.Spec.Workers, PerWorker: lease.Spec.PerWorker,
		WorkerCPU: program.WorkerCPU, WorkerMemory: program.WorkerMemory,
		HeadCPU: program.HeadCPU, HeadMemory: program.HeadMemory,
		Priority: priority, Firm: firm(lease), Notice: int64(lease.Spec.Terms.NoticeSeconds),
		Egress: lease.Spec.Terms.Egress, RegistryCIDRs: r.RegistryCIDRs,
	}
}

// partEnv tells the program of a job that was split which part of it runs here. The names are reserved, so that the job sets none of them.
func partEnv(lease *boursev1.GPULease) []corev1.EnvVar {
	part := lease.Spec.Part
	if part == nil {
		return nil
	}
	return []corev1.EnvVar{
		{Name: "BOURSE_PART", Value: strconv.Itoa(int(number(part.Index)))},
		{Name: "BOURSE_PARTS", Value: strconv.Itoa(int(part.Of))},
		{Name: "BOURSE_PART_WORKERS", Value: strconv.Itoa(int(lease.Spec.Workers))},
	}
}

// products lists the product labels of the pool's nodes that have the lease's model.
func (r *Reconciler) products(ctx context.Context, pool *boursev1.GPUPool, model boursev1.GPUModel) ([]string, error) {
	var nodes corev1.NodeList
	if err := r.Local.List(ctx, &nodes, client.MatchingLabels(pool.Spec.NodeSelector)); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var products []string
	for i := range nodes.Items {
		labels := nodes.Items[i].Labels
		memory, err := strconv.ParseInt(labels[labelMemory], 10, 32)
		if err != nil {
			continue // the node is not counted by its pool either
		}
		if found, ok := gpu.ModelOf(labels[ray.LabelProduct], int32(memory)); ok && found.Name == string(model) {
			products = append(products, labels[ray.LabelProduct])
		}
	}
	slices.Sort(products)
	return slices.Compact(products), nil
}

// state reads how the lease's pods fare.
func (r *Reconciler) state(ctx context.Context, lease *boursev1.GPULease) (ray.State, error) {
	var pods corev1.PodList
	if err := r.Local.List(ctx, &pods, client.InNamespace(space(lease))); err != nil {
		return ray.State{}, fmt.Errorf("list pods: %w", err)
	}
	nodes, failing := map[string]ray.Node{}, false
	for i := range pods.Items {
		name := pods.Items[i].Spec.NodeName
		if _, known := nodes[name]; known || name == "" {
			continue
		}
		var node corev1.Node
		if err := r.Local.Get(ctx, client.ObjectKey{Name: name}, &node); client.IgnoreNotFound(err) != nil {
			return ray.State{}, fmt.Errorf("get node: %w", err)
		}
		nodes[name] = ray.Node{}
		for _, condition := range node.Status.Conditions {
			if condition.Type != corev1.NodeReady {
				continue
			}
			failing = failing || condition.Status == corev1.ConditionFalse
			nodes[name] = ray.Node{Silent: condition.Status == corev1.ConditionUnknown}
			if condition.Status == corev1.ConditionTrue {
				nodes[name] = ray.Node{Ready: condition.LastTransitionTime.Time}
			}
		}
	}
	state := ray.Read(pods.Items, lease.Spec.Workers, nodes)
	state.Failing = state.Failing || failing
	return state, nil
}

// firm says whether the supplier has promised not to take the lease back.
func firm(lease *boursev1.GPULease) bool { return lease.Spec.Terms.Tier == boursev1.TierFirm }

// gpus is how many GPUs the lease is for.
func gpus(lease *boursev1.GPULease) int64 {
	return int64(lease.Spec.Workers) * int64(lease.Spec.PerWorker)
}

// number reads an optional number.
func number[T int32 | int64](value *T) T {
	if value == nil {
		return 0
	}
	return *value
}

// amount reads base units, which the API keeps from being negative.
func amount(value *int64) money.Amount {
	return money.Amount(max(0, number(value)))
}

// leastPrice is what the pool asks for one GPU of the model for one hour, at least. Where the price follows the market's, any within the
// pool's limits will do: the index may have moved since the match, and it is the market's word anyway.
func leastPrice(pool *boursev1.GPUPool, model boursev1.GPUModel) boursev1.USDPrice {
	stated, auto := contract.PoolPrice(pool, model)
	if auto != nil {
		return auto.MinUSD
	}
	return stated
}

// strength orders isolation, weakest first.
func strength(level boursev1.Isolation) int {
	return slices.Index([]boursev1.Isolation{
		boursev1.IsolationContainer, boursev1.IsolationSandbox, boursev1.IsolationVM, boursev1.IsolationConfidential,
	}, cmp.Or(level, boursev1.IsolationContainer))
}

// reach orders egress, least first.
func reach(egress boursev1.Egress) int {
	return slices.Index([]boursev1.Egress{
		boursev1.EgressNone, boursev1.EgressRegistry, boursev1.EgressInternet,
	}, cmp.Or(egress, boursev1.EgressNone))
}
