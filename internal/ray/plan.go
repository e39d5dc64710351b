// SPDX-License-Identifier: Apache-2.0

// Package ray builds what one lease runs in a supplier's cluster (a walled namespace, pods that hold the GPUs, a Ray cluster or a Ray
// job) and reads back how it fares. It is the only place that knows KubeRay's types; it neither creates nor deletes anything.
package ray

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// ResourceGPU is the extended resource that a whole GPU, or a partition under the single MIG strategy, is requested as.
const ResourceGPU corev1.ResourceName = "nvidia.com/gpu"

// LabelProduct is the label in which GPU Feature Discovery names a node's GPU.
const LabelProduct = "nvidia.com/gpu.product"

// Taints that the pods of leases tolerate: that of GPU nodes in general, and that of nodes which a supplier dedicates to its pools.
const (
	TaintGPU  = "nvidia.com/gpu"
	TaintPool = "bourse.dev/pool"
)

// The PriorityClasses that pods of leases run at: below the supplier's own pods, and above them.
const (
	PriorityInterruptible = "bourse-interruptible"
	PriorityFirm          = "bourse-firm"
)

// The names of what a lease namespace holds.
const (
	Name           = "ray"     // the RayCluster or RayJob
	ProgramName    = "program" // the ConfigMap with the program's text
	AccountName    = "lease"   // the service account, which may do nothing
	QuotaName      = "lease"
	BudgetName     = "firm"
	TokenName      = "bourse-ray-token" //nolint:gosec // the name of the Secret with the token that Ray asks for
	tokenKey       = "auth_token"       // KubeRay's name for it
	labelPart      = "bourse.dev/part"
	partHold       = "hold"
	partManager    = "manager"
	programFolder  = "/bourse"
	programFile    = "program.py"
	rayUser        = 1000
	workerGroup    = "gpu"
	dashboardPort  = 8265
	headContainer  = "ray-head"
	workContainer  = "ray-worker"
	labelNodeType  = "ray.io/node-type"
	labelNamespace = "kubernetes.io/metadata.name"
)

// Plan is what one lease runs, and where.
type Plan struct {
	Namespace string
	Lease     string // the lease's name, for labels
	Image     string
	HoldImage string // an image that only waits
	Version   string // Ray's version
	Token     string // what Ray asks everybody for; once the lease runs, that of its Secret counts
	System    string // the namespace of the operator's own pods
	Program   string // the text of the program, may be empty
	Run       string // the entrypoint; an interactive cluster without one
	Env       []corev1.EnvVar

	Workers      int32
	PerWorker    int32
	WorkerCPU    resource.Quantity
	WorkerMemory resource.Quantity
	HeadCPU      resource.Quantity
	HeadMemory   resource.Quantity

	Priority     string            // the name of the PriorityClass
	Firm         bool              // the pods may not be evicted
	Notice       int64             // the seconds between being told and being killed
	NodeSelector map[string]string // the pool's nodes
	Products     []string          // the labels of the nodes that have the model
	Hosts        []string          // the nodes that hold the workers' places, once that is known
	HeadHosts    []string          // the nodes that hold any place of the lease, once that is known

	Egress        boursev1.Egress
	RegistryCIDRs []string // what Egress Registry reaches
}

// labels are on every object of the lease.
func (p Plan) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "bourse", boursev1.LabelLease: label(p.Lease)}
}

// label cuts a name to what a label's value may hold.
func label(name string) string {
	const most = 63
	if len(name) <= most {
		return name
	}
	cut := most
	for cut > 1 && (name[cut-1] == '-' || name[cut-1] == '.') {
		cut--
	}
	return name[:cut]
}

func (p Plan) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: p.labels()}
}

// placement is the part of a pod that says where it may run: on the hosts once they are known, else on any of the pool's nodes that
// have the model.
func (p Plan) placement() *corev1.Affinity {
	terms := make([]corev1.NodeSelectorTerm, 0, len(p.Hosts)+1)
	for _, host := range p.Hosts { // a field selector takes one name; terms are alternatives
		terms = append(terms, corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{in(metav1.ObjectNameField, host)}})
	}
	if len(terms) == 0 {
		rules := make([]corev1.NodeSelectorRequirement, 0, len(p.NodeSelector)+1)
		rules = append(rules, in(LabelProduct, p.Products...))
		for _, key := range slices.Sorted(maps.Keys(p.NodeSelector)) {
			rules = append(rules, in(key, p.NodeSelector[key]))
		}
		terms = append(terms, corev1.NodeSelectorTerm{MatchExpressions: rules})
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

func in(key string, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
}

// pod is what all pods of a lease have in common: no token, no privilege, no root, no view of other services.
func (p Plan) pod(container corev1.Container) corev1.PodSpec {
	container.ImagePullPolicy = corev1.PullIfNotPresent
	container.SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return corev1.PodSpec{
		ServiceAccountName:           AccountName,
		AutomountServiceAccountToken: new(false),
		EnableServiceLinks:           new(false),
		PriorityClassName:            p.Priority,
		Affinity:                     p.placement(),
		Tolerations: []corev1.Toleration{
			{Key: TaintGPU, Operator: corev1.TolerationOpExists},
			{Key: TaintPool, Operator: corev1.TolerationOpExists},
			// A node that does not report may run its pods on, and one that reports trouble may recover: how long a lease waits for that is its
			// own to decide, and by default Kubernetes would delete the pods after five minutes.
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   new(true),
			RunAsUser:      new(int64(rayUser)),
			RunAsGroup:     new(int64(rayUser)),
			FSGroup:        new(int64(rayUser)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{container},
	}
}

// equal requests exactly what it limits: the buyer gets what it pays for, and the supplier's scheduler counts all of it.
func equal(cpu, memory resource.Quantity, gpus int32) corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory}
	if gpus > 0 {
		list[ResourceGPU] = *resource.NewQuantity(int64(gpus), resource.DecimalSI)
	}
	return corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
}
