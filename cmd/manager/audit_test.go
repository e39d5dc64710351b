// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAuditSaysWhatItCouldNotRead(t *testing.T) {
	dir := t.TempDir()
	lease := filepath.Join(dir, "lease.yaml")
	if err := os.WriteFile(lease, []byte("apiVersion: bourse.dev/v1alpha1\nkind: GPULease\nmetadata: {name: l}\nspec: {pool: p, pools: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"help":                        {[]string{"--help"}, 0, "kubectl get gpuleases,settlements,feeburns -A -o yaml"},
		"no endpoint":                 {nil, exitUnreadable, "--chain-rpc is required"},
		"a quorum that cannot be":     {[]string{rpc, "--chain-quorum=2"}, exitUnreadable, "--chain-quorum"},
		"an unknown flag":             {[]string{"--roles=market"}, exitUnreadable, "-roles"},
		"a word that is no flag":      {[]string{rpc, "now"}, exitUnreadable, `"now"`},
		"a time that is none":         {[]string{rpc, "--as-of=yesterday"}, exitUnreadable, "as-of"},
		"a file that is not there":    {[]string{rpc, "--from=" + filepath.Join(dir, "none.yaml")}, exitUnreadable, "none.yaml"},
		"a file that cannot be read":  {[]string{rpc, "--from=" + lease}, exitUnreadable, `"pools"`},
		"a cluster that is not there": {[]string{rpc, "--kubeconfig=" + filepath.Join(dir, "none")}, exitUnreadable, "--kubeconfig"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := runAudit(t.Context(), tc.args, &stdout, &stderr, time.Now())
			if code != tc.code || !strings.Contains(stderr.String(), tc.want) || stdout.Len() > 0 {
				t.Errorf("code %d, output %q and %q; want code %d and %q", code, stdout.String(), stderr.String(), tc.code, tc.want)
			}
		})
	}
}
