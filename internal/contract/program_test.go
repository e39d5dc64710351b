// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/test/builders"
)

func program() *boursev1.RayProgram {
	return &boursev1.RayProgram{
		Image: "ray:2.52.0", Version: "2.52.0", Entrypoint: "python /bourse/program.py", Program: "print(1)",
		Env:       []boursev1.EnvVar{{Name: "A", Value: new("1")}, {Name: "B", Value: new("")}},
		WorkerCPU: resource.MustParse("4"), WorkerMemory: resource.MustParse("16Gi"),
		HeadCPU: resource.MustParse("1"), HeadMemory: resource.MustParse("4Gi"),
	}
}

// The encoding is part of the protocol: two versions of the operator must agree. The figure is that of sha256sum over the same bytes.
func TestTheDigestOfAProgramIsAsDocumented(t *testing.T) {
	const want = "d3396535b6d80651cffe06c4e3fa6910bceb53fd4e401d7b5e1168a226d7cb82"
	if got := contract.ProgramDigest(builders.Salt, program()); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestEveryPartOfAProgramCounts(t *testing.T) {
	was := contract.ProgramDigest(builders.Salt, program())
	cases := map[string]struct {
		change func(*boursev1.RayProgram)
		same   bool
	}{
		"the image":                  {func(p *boursev1.RayProgram) { p.Image = "ray:2.53.0" }, false},
		"the version":                {func(p *boursev1.RayProgram) { p.Version = "2.53.0" }, false},
		"the entrypoint":             {func(p *boursev1.RayProgram) { p.Entrypoint = "" }, false},
		"the text":                   {func(p *boursev1.RayProgram) { p.Program = "print(2)" }, false},
		"a byte that moves":          {func(p *boursev1.RayProgram) { p.Entrypoint, p.Program = p.Entrypoint+"p", p.Program[1:] }, false},
		"the worker's CPU":           {func(p *boursev1.RayProgram) { p.WorkerCPU = resource.MustParse("5") }, false},
		"the worker's memory":        {func(p *boursev1.RayProgram) { p.WorkerMemory = resource.MustParse("17Gi") }, false},
		"the head's CPU":             {func(p *boursev1.RayProgram) { p.HeadCPU = resource.MustParse("2") }, false},
		"the head's memory":          {func(p *boursev1.RayProgram) { p.HeadMemory = resource.MustParse("5Gi") }, false},
		"a variable's name":          {func(p *boursev1.RayProgram) { p.Env[0].Name = "C" }, false},
		"a variable's value":         {func(p *boursev1.RayProgram) { p.Env[0].Value = new("2") }, false},
		"another variable":           {func(p *boursev1.RayProgram) { p.Env = append(p.Env, boursev1.EnvVar{Name: "C"}) }, false},
		"the order of the variables": {func(p *boursev1.RayProgram) { p.Env[0], p.Env[1] = p.Env[1], p.Env[0] }, false},
		"no value for an empty one":  {func(p *boursev1.RayProgram) { p.Env[1].Value = nil }, true},
		"another way to write a size": {func(p *boursev1.RayProgram) {
			p.WorkerCPU, p.HeadMemory = resource.MustParse("4000m"), resource.MustParse("4096Mi")
		}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := program()
			tc.change(p)
			if got := contract.ProgramDigest(builders.Salt, p) == was; got != tc.same {
				t.Errorf("the digest is the same: %v, want %v", got, tc.same)
			}
		})
	}
	if contract.ProgramDigest("another salt", program()) == was {
		t.Error("the salt does not count")
	}
}

func TestALeaseRunsWhatItNames(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPULease, *boursev1.RayProgram)
		want   string
	}{
		"its program":     {func(*boursev1.GPULease, *boursev1.RayProgram) {}, ""},
		"another program": {func(_ *boursev1.GPULease, p *boursev1.RayProgram) { p.Image = "miner:1" }, "is for another Ray program"},
		"another end": {
			func(l *boursev1.GPULease, _ *boursev1.RayProgram) { l.Spec.Ends = boursev1.EndsWithTerm },
			"does not end as its Ray program does",
		},
		"no entrypoint": {func(l *boursev1.GPULease, p *boursev1.RayProgram) {
			p.Entrypoint = ""
			l.Spec.ProgramSHA256 = contract.ProgramDigest(builders.Salt, p)
		}, "does not end as its Ray program does"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job, lease := builders.Leased(t, "train")
			job.Spec.Ray = *program()
			builders.Program(job, lease)
			tc.change(lease, &job.Spec.Ray)
			if got := contract.Runs(lease, builders.Salt, &job.Spec.Ray); got != tc.want {
				t.Errorf("it says %q, want %q", got, tc.want)
			}
		})
	}
}
