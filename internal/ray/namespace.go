// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"crypto/sha256"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// handOver is how many times over the quota admits the lease's pods: the pods that hold the GPUs, and the Ray pods that wait for them.
const handOver = 2

// never are addresses that no lease may reach: private, shared, loopback, link-local with its metadata services, and multicast ones.
func never() (ipv4, ipv6 []string) {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
	}, []string{"::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"}
}

// LeaseSpace is the name of a lease's namespace.
func LeaseSpace(lease string) string {
	const prefix, most, kept = "bourse-lease-", 63, 41
	name := prefix + lease
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(lease))
	return prefix + lease[:kept] + "-" + hex.EncodeToString(sum[:4])
}

// Belongs says whether a namespace is the lease's: one of that name may be somebody else's.
func Belongs(space *corev1.Namespace, lease string) bool {
	of := Plan{Lease: lease}.labels()
	for name, value := range of {
		if space.Labels[name] != value {
			return false
		}
	}
	return space.Name == LeaseSpace(lease)
}

// Space returns the lease's namespace, in which Kubernetes admits only pods that keep to the restricted standard.
func (p Plan) Space() *corev1.Namespace {
	labels := p.labels()
	for _, mode := range []string{"enforce", "audit", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Namespace, Labels: labels}}
}

// Walls returns what keeps the lease inside its namespace and others from evicting a firm one, in the order in which it must exist:
// before any pod.
func (p Plan) Walls() []client.Object {
	walls := []client.Object{
		&networkingv1.NetworkPolicy{ObjectMeta: p.meta("default-deny"), Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		}},
		&networkingv1.NetworkPolicy{ObjectMeta: p.meta("lease"), Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     p.ingress(),
			Egress:      p.egress(),
		}},
		p.quota(),
		&corev1.ServiceAccount{ObjectMeta: p.meta(AccountName), AutomountServiceAccountToken: new(false)},
	}
	if p.Firm {
		walls = append(walls, p.budget())
	}
	return walls
}

// budget lets nobody evict a pod of a firm lease: kubectl drain waits, and says why. It asks for more healthy pods than there ever are,
// also while Ray pods and those that hold their places are both there; maxUnavailable would need the scale of the pods' owner, which
// Ray's kinds do not have.
func (p Plan) budget() *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{ObjectMeta: p.meta(BudgetName), Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: new(intstr.FromInt32((p.Workers + 1) * handOver)),
		Selector:     &metav1.LabelSelector{MatchLabels: p.labels()},
	}}
}

// ingress lets the lease's pods reach each other, and KubeRay's operator and ours reach Ray's dashboard.
func (p Plan) ingress() []networkingv1.NetworkPolicyIngressRule {
	own := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelNamespace: p.System}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelPart: partManager}},
	}
	operator := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "kuberay-operator"}},
	}
	return []networkingv1.NetworkPolicyIngressRule{
		{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
		{From: []networkingv1.NetworkPolicyPeer{operator, own}, Ports: ports(corev1.ProtocolTCP, dashboardPort)},
	}
}

func (p Plan) egress() []networkingv1.NetworkPolicyEgressRule {
	dns := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelNamespace: "kube-system"}},
	}
	const dnsPort = 53
	rules := []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
		{
			To:    []networkingv1.NetworkPolicyPeer{dns},
			Ports: append(ports(corev1.ProtocolUDP, dnsPort), ports(corev1.ProtocolTCP, dnsPort)...),
		},
	}
	var peers []networkingv1.NetworkPolicyPeer
	switch p.Egress {
	case boursev1.EgressRegistry:
		for _, cidr := range p.RegistryCIDRs {
			peers = append(peers, block(cidr))
		}
	case boursev1.EgressInternet:
		ipv4, ipv6 := never()
		peers = append(peers, block("0.0.0.0/0", ipv4...), block("::/0", ipv6...))
		for _, cidr := range p.RegistryCIDRs {
			peers = append(peers, block(cidr))
		}
	case boursev1.EgressNone:
	default:
	}
	if len(peers) > 0 { // a rule without peers would allow everything
		rules = append(rules, networkingv1.NetworkPolicyEgressRule{To: peers})
	}
	return rules
}

func block(cidr string, except ...string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}
}

func ports(protocol corev1.Protocol, port int32) []networkingv1.NetworkPolicyPort {
	return []networkingv1.NetworkPolicyPort{{Protocol: &protocol, Port: new(intstr.FromInt32(port))}}
}

// quota is a second lock: nothing but the operator and KubeRay creates pods here, and they never create more than this.
func (p Plan) quota() *corev1.ResourceQuota {
	cpu, memory := p.WorkerCPU.DeepCopy(), p.WorkerMemory.DeepCopy()
	cpu.Mul(int64(p.Workers))
	cpu.Add(p.HeadCPU)
	cpu.Mul(handOver)
	memory.Mul(int64(p.Workers))
	memory.Add(p.HeadMemory)
	memory.Mul(handOver)
	count := func(number int64) resource.Quantity { return *resource.NewQuantity(number, resource.DecimalSI) }
	return &corev1.ResourceQuota{ObjectMeta: p.meta(QuotaName), Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		"requests." + ResourceGPU:             count(int64(p.Workers) * int64(p.PerWorker) * handOver),
		corev1.ResourceRequestsCPU:            cpu,
		corev1.ResourceLimitsCPU:              cpu.DeepCopy(),
		corev1.ResourceRequestsMemory:         memory,
		corev1.ResourceLimitsMemory:           memory.DeepCopy(),
		corev1.ResourcePods:                   count(int64(p.Workers+1) * handOver),
		corev1.ResourceServicesNodePorts:      count(0),
		corev1.ResourceServicesLoadBalancers:  count(0),
		corev1.ResourcePersistentVolumeClaims: count(0),
	}}}
}
