// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// need is a file that a Debian package brings.
type need struct{ pkg, file string }

var needs = []need{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"containernetworking-plugins", cniPlugins + "/bridge"},
	{"iproute2", "ip"},
	{"iptables", "iptables"},
	{"nftables", "nft"},
	{"conntrack", "conntrack"},
	{"util-linux", "unshare"},
	{"debootstrap", "/usr/sbin/debootstrap"},
	{"python3-pip", "pip3"},
}

// cniPlugins is where Debian puts the CNI plugins.
const cniPlugins = "/usr/lib/cni"

func missingPackages() []string {
	var missing []string
	for _, n := range needs {
		if _, err := exec.LookPath(n.file); err != nil {
			missing = append(missing, n.pkg)
		}
	}
	return missing
}

func canInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil
}

// install gets the Debian packages that are missing.
func install(ctx context.Context, out io.Writer) error {
	packages := missingPackages()
	if len(packages) == 0 {
		return nil
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", strings.Join(packages, " "))
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, output)
		}
	}
	return nil
}
