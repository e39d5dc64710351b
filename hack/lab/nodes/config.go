// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"encoding/base64"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

const (
	dnsService    = "10.96.0.10"
	clusterDomain = "cluster.local"
)

// values are what a template's $names stand for.
type values map[string]string

func (v values) fill(template string) string {
	return os.Expand(template, func(name string) string { return v[name] })
}

// containerdConfig leaves oom_score_adj alone where the machine does not let us lower it: containers would not start.
func containerdConfig(dir string) string {
	return values{"dir": dir, "socket": containerdSocket, "pause": PauseImage, "plugins": cniPlugins}.fill(`version = 2
root = "$dir/containerd"
state = "/run/containerd/state"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$plugins"
    conf_dir = "$dir/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`)
}

func kubeletConfig(dir, cgroup string) string {
	return values{"dir": dir, "cgroup": cgroup, "dns": dnsService, "domain": clusterDomain, "socket": containerdSocket}.fill(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
clusterDNS: [$dns]
clusterDomain: $domain
containerRuntimeEndpoint: unix://$socket
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
maxPods: 50
nodeStatusUpdateFrequency: 5s
podLogsDir: $dir/pod-logs
resolvConf: $dir/resolv.conf
syncFrequency: 5s
volumePluginDir: $dir/volume-plugins
`)
}

func podNetwork(ipam, pods string) string {
	return values{"ipam": ipam, "pods": pods}.fill(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$ipam", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}
]}
`)
}

// clusterServices let the nodes' own credentials follow services, and put the
// lab's DNS server behind the address that kubelets give to pods.
func clusterServices() string {
	return values{"dns": dnsService, "hub": hubAddress.String()}.fill(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "lab:node-proxier"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-proxier"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:nodes"}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: $dns
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-lab, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$hub], conditions: {ready: true}}]
`)
}

// authority returns the certificate authority in a kubeconfig.
func authority(kubeconfig string) (string, error) {
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		return "", fmt.Errorf("read kubeconfig: %w", err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Authority string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("parse kubeconfig: %w", err)
	}
	if len(config.Clusters) != 1 || config.Clusters[0].Cluster.Authority == "" {
		return "", fmt.Errorf("kubeconfig %s has no single cluster with its certificate authority inside", kubeconfig)
	}
	authority, err := base64.StdEncoding.DecodeString(config.Clusters[0].Cluster.Authority)
	if err != nil {
		return "", fmt.Errorf("decode certificate authority: %w", err)
	}
	return string(authority), nil
}
