# SPDX-License-Identifier: Apache-2.0
# enter NODE FOLDER COMMAND...: turns new mount and UTS namespaces into the node's and runs the command there.
# What a kubelet and a container runtime keep at fixed paths lies in the node's folder, so two nodes do
# not meet, and the mounts and files end with the node.
set -e
name=$1
folder=$2
shift 2
mount --make-rshared /
for path in /var/lib/kubelet /var/lib/cni /var/log/containers /run/containerd /run/netns; do
	mkdir -p "$folder/host$path"
	mount --bind "$folder/host$path" "$path"
	mount --make-rshared "$path"
done
hostname "$name"
exec "$@"
