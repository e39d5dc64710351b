// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/nvml/nvmltest"
)

var footprint = flag.Duration("footprint", 0, "measure for so long what the agent takes with eight GPUs")

// ticksPerSecond is the unit of times in /proc/<pid>/stat, on every architecture that Linux has today.
const ticksPerSecond = 100

// TestFootprint prints what the real binary takes, at its default intervals, and passes whatever that is: timings are for people.
func TestFootprint(t *testing.T) {
	if *footprint == 0 {
		t.Skip("a measurement: make bench-agent")
	}
	kubelet := &fakeKubelet{}
	machine := nvmltest.H100s()
	ids := make([]string, 0, len(machine.GPUs))
	for _, gpu := range machine.GPUs {
		ids = append(ids, gpu.UUID)
	}
	kubelet.give("train", ids[:2], ids...)
	api, here := newFakeAPI(t), newMachine(t, kubelet)
	agent := here.start(t, api, nvmltest.Build(t, machine).Path, "--interval=30s", "--log-level=info")
	eventually(t, 20*time.Second, "eight GPUs are reported", func() bool {
		node := api.node(t, nodeName)
		return node != nil && len(node.Status.Devices) == 8
	})
	began, before := time.Now(), cpu(t, agent.cmd.Process.Pid)
	var most int
	for time.Since(began) < *footprint {
		scrape(t, here.address)
		most = max(most, memory(t, agent.cmd.Process.Pid, "VmRSS"))
		time.Sleep(min(15*time.Second, *footprint-time.Since(began)))
	}
	passed, used := time.Since(began), cpu(t, agent.cmd.Process.Pid)-before
	fmt.Printf("agent with 8 GPUs over %s, scraped every 15s:\n", passed.Round(time.Second))
	fmt.Printf("  memory (RSS)   %6.1f MiB now, %.1f at most when sampled, %.1f at its peak; %.1f of it its own (anonymous)\n",
		mebi(memory(t, agent.cmd.Process.Pid, "VmRSS")), mebi(most), mebi(memory(t, agent.cmd.Process.Pid, "VmHWM")), mebi(memory(t, agent.cmd.Process.Pid, "RssAnon")))
	fmt.Printf("  processor      %6.3f %% of a core (%.2f s)\n", 100*used.Seconds()/passed.Seconds(), used.Seconds())
	fmt.Printf("  API requests   %d reads, %d writes of the GPUNode, %d of the Lease\n", api.count("GET gpunodes"), api.count("PATCH gpunodes"), api.count("PATCH leases"))
	if info, err := os.Stat(agent.cmd.Path); err == nil {
		fmt.Printf("  binary         %6.1f MiB\n", float64(info.Size())/(1<<20))
	}
}

func mebi(kibi int) float64 { return float64(kibi) / 1024 }

// scrape reads the metrics and returns them.
func scrape(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v", response.Status, err)
	}
	return string(text)
}

// cpu is how long a process has computed, its kernel's time included.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Skipf("SKIPPED: this system does not say what a process takes: %v", err)
	}
	fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// memory is a figure of a process in KiB.
func memory(t *testing.T, pid int, which string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(which + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s", which)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
