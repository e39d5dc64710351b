// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/hack/lab/cluster/pki"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	ca, err := pki.New(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	id := pki.Identity{Name: "api", User: "kube-apiserver", Groups: []string{"g"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNS: []string{"kubernetes"}}
	if err := ca.Issue(id); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(ca.Path("api.crt"), ca.Path("api.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		name string
		at   time.Time
		ok   bool
	}{
		"by name now":            {"kubernetes", now, true},
		"by address now":         {"127.0.0.1", now, true},
		"by another name":        {"example.test", now, false},
		"long after":             {"kubernetes", now.AddDate(1, 0, 0), false},
		"with a clock behind it": {"kubernetes", now.Add(-time.Minute), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: tc.name, Roots: ca.Pool(), CurrentTime: tc.at})
			if (err == nil) != tc.ok {
				t.Errorf("Verify: %v, want success %t", err, tc.ok)
			}
		})
	}
	if diff := cmp.Diff([]string{"kube-apiserver", "g"}, append([]string{leaf.Subject.CommonName}, leaf.Subject.Organization...)); diff != "" {
		t.Errorf("who the holder is (-want +got):\n%s", diff)
	}
	keys, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range keys {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 600", file, info.Mode(), err)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	ca, err := pki.New(t.TempDir(), time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := ca.Kubeconfig(file, "hub", "https://127.0.0.1:1", "nobody"); err == nil {
		t.Error("Kubeconfig of a holder without certificate: no error")
	}
	if err := ca.Issue(pki.Identity{Name: "admin", User: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := ca.Kubeconfig(file, "hub", "https://127.0.0.1:1", "admin"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`server: "https://127.0.0.1:1"`, "current-context: hub", "client-key-data: "} {
		if !strings.Contains(string(data), want) {
			t.Errorf("kubeconfig lacks %q", want)
		}
	}
}
