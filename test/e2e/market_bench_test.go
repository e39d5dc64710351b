// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var (
	marketJobs  = flag.Int("jobs", 1000, "how many jobs the market's benchmark applies at once")
	marketNodes = flag.Int("market-nodes", 1000, "how many nodes of 8 GPUs their offers come from")
)

// BenchmarkMarket lets the real manager, with the market's role alone, match many jobs that are applied at once: what that costs it in
// processor time and API writes for each job, and how long a job waits for its lease.
func BenchmarkMarket(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is many jobs: -benchtime 1x")
	}
	lab := up(b, "--fake-nodes", nodesFile(b, *marketNodes))
	teller := story.NewTeller(b.Output(), time.Now)
	if err := teller.Offers(b.Context(), lab, 1); err != nil {
		b.Fatal(err)
	}
	m := startMarket(b, lab)
	writes, spent := m.writes(), m.spent()
	for b.Loop() {
		m.matched(teller)
	}
	jobs := float64(*marketJobs)
	b.ReportMetric(float64(m.spent()-spent)/float64(time.Millisecond)/jobs, "cpu-ms/job")
	b.ReportMetric(float64(m.writes()-writes)/jobs, "writes/job")
	b.ReportMetric(m.quantile(0.50), "p50-ms")
	b.ReportMetric(m.quantile(0.99), "p99-ms")
}

// marketAlone is the manager with the market's role.
type marketAlone struct {
	b       *testing.B
	lab     *story.Lab
	process *exec.Cmd
	waited  []time.Duration
}

// startMarket ends the lab's manager and starts one that only decides: the offers stand, and nobody accepts what is matched.
func startMarket(b *testing.B, lab *story.Lab) *marketAlone {
	b.Helper()
	var state struct {
		Manager struct {
			Args []string `json:"args"`
		} `json:"manager"`
	}
	readJSON(b, filepath.Join(lab.Dir, "lab.json"), &state)
	var record struct {
		PID int `json:"pid"`
	}
	readJSON(b, filepath.Join(lab.Dir, "proc", "manager.json"), &record)
	if err := syscall.Kill(record.PID, syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	args := slices.DeleteFunc(state.Manager.Args, func(arg string) bool { return strings.HasPrefix(arg, "--roles=") })
	m := &marketAlone{b: b, lab: lab, process: exec.CommandContext(b.Context(), args[0], append(args[1:], "--roles=market")...)}
	m.process.Dir = lab.Dir
	if err := m.process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = m.process.Process.Kill() // the lab goes with it
		_ = m.process.Wait()
	})
	return m
}

func readJSON(tb testing.TB, file string, into any) {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// matched applies the jobs, each of which fits somewhere, and watches until the lease of every one is made.
func (m *marketAlone) matched(teller *story.Teller) {
	m.b.Helper()
	applied, found := map[string]time.Time{}, map[string]time.Duration{}
	for i := range *marketJobs {
		job := smallJob(i)
		if err := m.lab.Client.Create(m.b.Context(), job); err != nil {
			m.b.Fatal(err)
		}
		applied[job.Name] = time.Now()
	}
	err := teller.Wait(m.b.Context(), "every job's lease", 10*time.Minute, func(ctx context.Context) (bool, error) {
		var jobs boursev1.ComputeJobList
		if err := m.lab.Client.List(ctx, &jobs); err != nil {
			return false, err
		}
		for _, job := range jobs.Items {
			if _, known := found[job.Name]; !known && meta.IsStatusConditionTrue(job.Status.Conditions, boursev1.JobMatched) {
				found[job.Name] = time.Since(applied[job.Name])
			}
		}
		return len(found) == len(applied), nil
	})
	if err != nil {
		m.b.Fatal(err)
	}
	for _, waited := range found {
		m.waited = append(m.waited, waited)
	}
	slices.Sort(m.waited)
}

func smallJob(number int) *boursev1.ComputeJob {
	return &boursev1.ComputeJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "buyer", Name: fmt.Sprintf("job-%04d", number)},
		Spec: boursev1.ComputeJobSpec{
			GPUs:            boursev1.GPURequest{Models: []boursev1.GPUModel{"h100-sxm-80gb"}, Workers: 1, PerWorker: int32(1 + number%4)},
			Bid:             boursev1.Bid{Token: "IO", MaxPriceUSD: "2.50", BudgetUSD: "50"},
			DurationSeconds: 3600,
			Ray:             boursev1.RayProgram{Image: "rayproject/ray:2.54.1", Version: "2.54.1"},
		},
	}
}

// quantile is how long that share of the jobs waited at the most, in milliseconds.
func (m *marketAlone) quantile(share float64) float64 {
	return float64(m.waited[int(share*float64(len(m.waited)-1))]) / float64(time.Millisecond)
}

// spent is the processor time that the manager has used.
func (m *marketAlone) spent() time.Duration {
	m.b.Helper()
	return spentBy(m.b, m.process.Process.Pid)
}

// spentBy is the processor time that a process has used.
func spentBy(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	const user, system, tick = 11, 12, 10 * time.Millisecond // counted from the state, which follows the name
	fields := statistics(tb, pid, "stat")
	return time.Duration(fields[user]+fields[system]) * tick
}

// residentOf is the memory that a process holds, in MiB.
func residentOf(tb testing.TB, pid int) float64 {
	tb.Helper()
	const resident = 1
	return float64(statistics(tb, pid, "statm")[resident]*os.Getpagesize()) / (1 << 20)
}

// statistics are the numbers that the kernel says of a process; words count as 0.
func statistics(tb testing.TB, pid int, file string) []int {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		tb.Fatal(err)
	}
	if _, rest, named := strings.Cut(string(text), ") "); named {
		text = []byte(rest)
	}
	words := strings.Fields(string(text))
	numbers := make([]int, len(words))
	for i, word := range words {
		numbers[i], _ = strconv.Atoi(word)
	}
	return numbers
}

// written finds the API server's counts of requests that write our kinds.
var written = regexp.MustCompile(`(?m)^apiserver_request_total\{.*group="bourse\.dev".*verb="(?:POST|PUT|PATCH|APPLY|DELETE)".*\} ([0-9.e+]+)$`)

// writes is how often our kinds were written, by anybody.
func (m *marketAlone) writes() int {
	m.b.Helper()
	metrics, err := m.lab.Kubectl(m.b.Context(), "get", "--raw", "/metrics")
	if err != nil {
		m.b.Fatal(err)
	}
	var sum float64
	for _, match := range written.FindAllStringSubmatch(metrics, -1) {
		count, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			m.b.Fatal(err)
		}
		sum += count
	}
	return int(sum)
}

// nodesFile describes a pool of so many equal nodes for a lab.
func nodesFile(tb testing.TB, count int) string {
	tb.Helper()
	const form = "pools:\n- name: oslo\n  region: eu-north-1\n  zone: eu-north-1a\n  nodes:\n  - {model: NVIDIA-H100-80GB-HBM3, count: %d, gpus: 8}\n"
	file := filepath.Join(tb.TempDir(), "nodes.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, form, count), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}
