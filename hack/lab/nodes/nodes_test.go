// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestWithDefaults(t *testing.T) {
	cases := map[string]struct {
		config  Config
		wantErr string
	}{
		"a folder and a name suffice": {config: Config{Dir: "/lab/nodes", Names: []string{"real-1"}}},
		"the folder must be absolute": {config: Config{Dir: "nodes", Names: []string{"real-1"}}, wantErr: "not absolute"},
		"there must be a node":        {config: Config{Dir: "/lab/nodes"}, wantErr: "0 nodes"},
		"addresses are limited":       {config: Config{Dir: "/lab/nodes", Names: make([]string, 51)}, wantErr: "51 nodes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.config.withDefaults()
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("got error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.GPUs != 4 || got.Model == "" || got.Pool != "real" {
				t.Errorf("got %d GPUs of %q in pool %q", got.GPUs, got.Model, got.Pool)
			}
		})
	}
}

func TestSitesDoNotShareNames(t *testing.T) {
	one, other := site{"/lab/one"}, site{"/lab/other"}
	if one.id() == other.id() {
		t.Errorf("two folders have the same id %s", one.id())
	}
	if got := (site{"/lab/one"}).id(); got != one.id() {
		t.Errorf("one folder has ids %s and %s", got, one.id())
	}
}

func TestDiscovered(t *testing.T) {
	labels, err := discovered("real", "NVIDIA-L40S", 2)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"nvidia.com/gpu.product": "NVIDIA-L40S", "nvidia.com/gpu.count": "2", "bourse.dev/pool": "real"} {
		if labels[key] != want {
			t.Errorf("label %s is %q, want %q", key, labels[key], want)
		}
	}
	for key := range labels {
		// A kubelet may not label its own node within kubernetes.io, but for its place.
		if strings.Contains(key, "kubernetes.io/") && !strings.HasPrefix(key, "topology.kubernetes.io/") {
			t.Errorf("label %s is not a kubelet's to set", key)
		}
	}
	if _, err := discovered("real", "no-such-model", 2); err == nil {
		t.Error("an unknown model has labels")
	}
}

func TestConfigs(t *testing.T) {
	containerd := containerdConfig("/lab/real-1")
	cases := map[string]struct {
		text string
		want []string
	}{
		"containerd":  {containerd, []string{`root = "/lab/real-1/containerd"`, `sandbox_image = "localhost/pause:1"`, "restrict_oom_score_adj = true"}},
		"kubelet":     {kubeletConfig("/lab/real-1", "bourse-0/real-1"), []string{"clusterDNS: [10.96.0.10]", "cgroupRoot: /bourse-0/real-1", "clientCAFile: /lab/real-1/ca.crt"}},
		"pod network": {podNetwork("/lab/ipam", podRange(3)), []string{`"subnet": "10.244.3.0/24"`, `"dataDir": "/lab/ipam"`}},
		"services":    {clusterServices(), []string{"clusterIP: 10.96.0.10", "addresses: [10.200.0.1]"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, want := range tc.want {
				if !strings.Contains(tc.text, want) {
					t.Errorf("config lacks %q:\n%s", want, tc.text)
				}
			}
			for document := range strings.SplitSeq(tc.text, "\n---\n") {
				var parsed map[string]any
				if err := yaml.UnmarshalStrict([]byte(document), &parsed); tc.text != containerd && err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	cases := map[string]struct {
		kubeconfig, want string
		fails            bool
	}{
		"one cluster":             {kubeconfig: "clusters: [{cluster: {certificate-authority-data: aGVsbG8=}}]", want: "hello"},
		"no authority inside":     {kubeconfig: "clusters: [{cluster: {certificate-authority: /file}}]", fails: true},
		"two clusters":            {kubeconfig: "clusters: [{cluster: {}}, {cluster: {}}]", fails: true},
		"not base64":              {kubeconfig: "clusters: [{cluster: {certificate-authority-data: '%'}}]", fails: true},
		"not a kubeconfig at all": {kubeconfig: "[", fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kubeconfig")
			if err := os.WriteFile(path, []byte(tc.kubeconfig), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := authority(path)
			if (err != nil) != tc.fails || got != tc.want {
				t.Errorf("got %q, %v; want %q, failure %v", got, err, tc.want, tc.fails)
			}
		})
	}
}

func TestCloneStoreSharesLayersAndCopiesDatabases(t *testing.T) {
	store := t.TempDir()
	files := map[string]string{"content/blobs/sha256/a": "layer", "snapshotter/snapshots/1/fs/bin": "file", "bolt/meta.db": "database"}
	for name, content := range files {
		path := filepath.Join(store, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clone := filepath.Join(t.TempDir(), "containerd")
	if err := cloneStore(t.Context(), store, clone); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name := range files {
		content, err := os.ReadFile(filepath.Join(clone, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(content)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("content of the clone (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(clone, "bolt/meta.db"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile(filepath.Join(store, "bolt/meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	if string(original) != "database" {
		t.Errorf("a change to the clone's database reached the store: %q", original)
	}
}

func TestDownOfNothingIsFine(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("Down removed a folder that is not its own: %v", err)
	}
	if err := Down(t.Context(), "relative"); err == nil {
		t.Error("Down took a folder that is not absolute")
	}
}

func TestCheckSaysThatRootIsNeeded(t *testing.T) {
	err := Check(t.Context())
	if needs := os.Geteuid() != 0; needs != (err != nil && strings.Contains(err.Error(), "need root")) {
		t.Errorf("as user %d, Check says %v", os.Geteuid(), err)
	}
}
