// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	dnsService    = "10.96.0.10"
	clusterDomain = "cluster.local"
)

// replace fills in a template's words in capitals.
func replace(template string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(template)
}

// containerdConfig leaves oom_score_adj alone where the machine does not let us lower it: containers would not start.
func containerdConfig(dir string) string {
	return replace(`version = 2
root = "DIR/containerd"
state = "/run/containerd/state"
[grpc]
  address = "SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "PAUSE"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "PLUGINS"
    conf_dir = "DIR/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, "DIR", dir, "SOCKET", containerdSocket, "PAUSE", PauseImage, "PLUGINS", cniPlugins)
}

func kubeletConfig(dir, cgroup string) string {
	return replace(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: DIR/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /CGROUP
clusterDNS: [DNS]
clusterDomain: DOMAIN
containerRuntimeEndpoint: unix://SOCKET
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
maxPods: 50
nodeStatusUpdateFrequency: 5s
podLogsDir: DIR/pod-logs
resolvConf: DIR/resolv.conf
syncFrequency: 5s
volumePluginDir: DIR/volume-plugins
`, "DIR", dir, "CGROUP", cgroup, "DNS", dnsService, "DOMAIN", clusterDomain, "SOCKET", containerdSocket)
}

func podNetwork(ipam, pods string) string {
	return replace(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "IPAM", "ranges": [[{"subnet": "PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}
]}
`, "IPAM", ipam, "PODS", pods)
}

// clusterServices let the nodes' own credentials follow services, and put the
// lab's DNS server behind the address that kubelets give to pods.
func clusterServices() string {
	return replace(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "lab:node-proxier"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-proxier"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:nodes"}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: DNS
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-lab, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [HUB], conditions: {ready: true}}]
`, "DNS", dnsService, "HUB", hubAddress.String())
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
