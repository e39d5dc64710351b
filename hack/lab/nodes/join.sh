# SPDX-License-Identifier: Apache-2.0
# join CGROUP COMMAND...: runs the command as a member of the node's own cgroup, by which `down` finds it.
set -e
cgroup=$1
shift
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/pids; do
	if [ -d "$hierarchy/$cgroup/own" ]; then
		echo $$ >"$hierarchy/$cgroup/own/cgroup.procs"
	fi
done
exec "$@"
