// SPDX-License-Identifier: Apache-2.0

package plane

import "strconv"

// nowhere is an address for documentation, which no machine has.
const nowhere = "192.0.2.1"

// EtcdFlags are etcd's flags. Nothing is synced to disk: a lab's data does not outlive it.
func (p *Plane) EtcdFlags() []string {
	return []string{
		"--data-dir=" + p.EtcdDir(),
		"--listen-client-urls=" + p.EtcdURL(),
		"--advertise-client-urls=" + p.EtcdURL(),
		"--listen-peer-urls=" + p.PeerURL(),
		"--initial-advertise-peer-urls=" + p.PeerURL(),
		"--initial-cluster=default=" + p.PeerURL(),
		"--quota-backend-bytes=8589934592",
		"--log-level=warn",
		"--unsafe-no-fsync",
	}
}

// APIServerFlags are kube-apiserver's flags.
func (p *Plane) APIServerFlags() []string {
	flags := []string{
		"--etcd-servers=" + p.EtcdURL(),
		"--bind-address=" + p.Bind.String(),
		"--secure-port=" + strconv.Itoa(p.Port),
		"--client-ca-file=" + p.ca.Path("ca.crt"),
		"--tls-cert-file=" + p.ca.Path("apiserver.crt"),
		"--tls-private-key-file=" + p.ca.Path("apiserver.key"),
		"--kubelet-client-certificate=" + p.ca.Path("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + p.ca.Path("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.ca.Path("service-account.key"),
		"--service-account-signing-key-file=" + p.ca.Path("service-account.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=3000",
		"--max-mutating-requests-inflight=1500",
	}
	if p.Bind.IsLoopback() {
		// A loopback address is no valid endpoint of the kubernetes service. Without one to advertise, which nobody is told then, the API
		// server looks for a default route, and there is none in a network namespace or on a machine without a network.
		return append(flags, "--endpoint-reconciler-type=none", "--advertise-address="+nowhere)
	}
	return append(flags, "--advertise-address="+p.Bind.String())
}

// ControllerManagerFlags are kube-controller-manager's flags.
func (p *Plane) ControllerManagerFlags() []string {
	return []string{
		"--kubeconfig=" + p.Kubeconfig("controller-manager"),
		"--leader-elect=false",
		"--secure-port=0",
		"--use-service-account-credentials=false",
		"--root-ca-file=" + p.ca.Path("ca.crt"),
		"--service-account-private-key-file=" + p.ca.Path("service-account.key"),
		"--node-monitor-grace-period=" + p.NodeGrace.String(),
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--concurrent-gc-syncs=20",
	}
}

// SchedulerFlags are kube-scheduler's flags.
func (p *Plane) SchedulerFlags() []string {
	return []string{
		"--kubeconfig=" + p.Kubeconfig("scheduler"),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=5000",
		"--kube-api-burst=5000",
	}
}

// Flags returns the flags of a component by its name.
func (p *Plane) Flags(component string) []string {
	switch component {
	case Etcd:
		return p.EtcdFlags()
	case APIServer:
		return p.APIServerFlags()
	case ControllerManager:
		return p.ControllerManagerFlags()
	case Scheduler:
		return p.SchedulerFlags()
	}
	return nil
}
