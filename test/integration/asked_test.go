// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/test/builders"
)

// kubeconfig writes what a member gets by joining, as the command writes it.
func (l *joinLab) kubeconfig(access join.Access) string {
	l.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["hub"] = &clientcmdapi.Cluster{Server: access.Server, CertificateAuthorityData: access.CA}
	config.AuthInfos["member"] = &clientcmdapi.AuthInfo{Token: access.Token}
	config.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "member", Namespace: access.Namespace}
	config.CurrentContext = "hub"
	path := filepath.Join(l.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		l.Fatal(err)
	}
	return path
}

// publishes opens the market's records to everybody who is logged in, as the chart does.
func (l *joinLab) publishes() {
	l.Helper()
	meta := metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: "public-reader"}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: boursev1.PublicNamespace}}
	if err := l.admin.Create(l.Context(), space); client.IgnoreAlreadyExists(err) != nil { // it stays: no controller ends namespaces here
		l.Fatal(err)
	}
	l.create(&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{boursev1.GroupVersion.Group}, Resources: []string{"settlements", "feeburns", "slashes"}, Verbs: []string{"get", "list", "watch"},
	}}})
	l.create(&rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}},
	})
}

// asks runs the command as a member.
func (l *joinLab) asks(command, kubeconfig string, args ...string) (code int, stdout, stderr string) {
	l.Helper()
	var out, problems strings.Builder
	run := exec.CommandContext(l.Context(), command, append(args, "--kubeconfig", kubeconfig)...)
	run.Stdout, run.Stderr = &out, &problems
	err := run.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode(), out.String(), problems.String()
	}
	if err != nil {
		l.Fatal(err)
	}
	return 0, out.String(), problems.String()
}

// A member that joined asks the market all that the command knows, by nothing but its own rights.
func TestAMemberThatJoinedAsksTheMarket(t *testing.T) {
	l := newJoinLab(t)
	l.readable()
	l.publishes()
	l.market()
	l.match()
	_, command := binaries(t)
	agent := builders.Wallet("agent")
	supplier, buyer, other := l.must(l.send(join.Join, builders.Wallet("sells"), agent)), l.must(l.send(join.Join, builders.Wallet("buys"), agent)),
		l.must(l.send(join.Join, builders.Wallet("looks on"), agent))
	offer := l.sells(supplier)
	_, lease := l.buys(buyer, func(*boursev1.ComputeJob) {})
	idea := builders.Job("idea")
	idea.TypeMeta = metav1.TypeMeta{APIVersion: boursev1.GroupVersion.String(), Kind: "ComputeJob"}
	idea.Namespace = other.Namespace
	text, err := yaml.Marshal(idea)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	asBuyer, asOther := l.kubeconfig(buyer), l.kubeconfig(other)
	for name, tc := range map[string]struct {
		as   string
		args []string
		code int
		want []string // of what it prints, or says went wrong
	}{
		"quote of a job that is but an idea": {asOther, []string{"quote", "-f", file}, 0, []string{"1 offer of 1 fits job idea", offer.Namespace + "/" + offer.Name, " 8 "}},
		"explanation of its own job":         {asBuyer, []string{"explain", "train"}, 0, []string{"Job train has lease " + lease.Name, "fits, and counts as"}},
		"replay of its own job":              {asBuyer, []string{"replay", "train"}, 0, []string{"the same offer, for the same reason"}},
		"its own jobs":                       {asBuyer, []string{"jobs"}, 0, []string{"train", "waits for the supplier", "Fjord & Söhne", "eu-north"}},
		"its own job in full": {
			asBuyer,
			[]string{"jobs", "train"},
			0,
			[]string{"Fjord & Söhne, in " + supplier.Namespace, string(lease.Spec.Escrow.Address), "matched     offer pool-h100"},
		},
		"all members":                {asOther, []string{"members"}, 0, []string{"NAME", "Fjord & Söhne", "buys, sells", "ready"}},
		"another member in full":     {asOther, []string{"members", supplier.Namespace}, 0, []string{supplier.Namespace, string(builders.Address("sells"))}},
		"the jobs of another member": {asOther, []string{"jobs", "-n", buyer.Namespace}, 2, []string{"read jobs", "forbidden"}},
		"the jobs of all":            {asOther, []string{"jobs", "-A"}, 2, []string{"read jobs", "forbidden"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := l.asks(command, tc.as, tc.args...)
			t.Logf("kubectl bourse %s:\n%s%s", strings.Join(tc.args, " "), stdout, stderr)
			if code != tc.code || tc.code == 0 && stderr != "" {
				t.Errorf("code %d, want %d without a word of what went wrong", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("it does not say %q", want)
				}
			}
		})
	}
}
