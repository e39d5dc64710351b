// SPDX-License-Identifier: Apache-2.0

// Package market plays a market on a trace of jobs: the production matcher and price index over made-up suppliers, in steps of a few
// minutes. Equal traces, parameters and seeds give equal reports. What jobs are worth to their buyers is assumed, since no trace says it:
// its figures compare rules with each other, and predict no price.
package market

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Job is one job of a trace.
type Job struct {
	At        int64 // when it comes, in seconds
	Duration  int64 // how long it runs, in seconds
	Workers   int
	PerWorker int // GPUs on one node
}

// GPUs is how many GPUs the job needs at the same time.
func (j Job) GPUs() int { return j.Workers * j.PerWorker }

// device is the GPU whose throughputs give a job its duration.
const device = "v100"

// throughputs are steps per second by "('job type', GPUs)", as in Gavel's simulation_throughputs.json.
type throughputs map[string]float64

// Read reads Gavel's traces: tab-separated lines of job type, command, argument, …, steps, arrival in seconds, GPUs. The folder holds
// the traces in msr-seed0 and the throughputs that turn steps into time. Jobs come back in the order of their arrival.
func Read(folder fs.FS) ([]Job, error) {
	rates, err := readThroughputs(folder)
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(folder, path.Join("msr-seed0", "*.trace"))
	if err != nil {
		return nil, fmt.Errorf("list traces: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("the folder has no msr-seed0/*.trace")
	}
	var jobs []Job
	for _, name := range files {
		more, err := readTrace(folder, name, rates)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		jobs = append(jobs, more...)
	}
	slices.SortStableFunc(jobs, func(a, b Job) int { return cmp.Compare(a.At, b.At) })
	return jobs, nil
}

func readThroughputs(folder fs.FS) (throughputs, error) {
	data, err := fs.ReadFile(folder, "simulation_throughputs.json")
	if err != nil {
		return nil, fmt.Errorf("read throughputs: %w", err)
	}
	var all map[string]map[string]map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("parse throughputs: %w", err)
	}
	rates := throughputs{}
	for kind, beside := range all[device] {
		var alone float64
		if err := json.Unmarshal(beside["null"], &alone); err != nil {
			return nil, fmt.Errorf("parse throughput of %s: %w", kind, err)
		}
		rates[kind] = alone
	}
	return rates, nil
}

func readTrace(folder fs.FS, name string, rates throughputs) ([]Job, error) {
	file, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was read only
	var jobs []Job
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		job, err := parse(lines.Text(), rates)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		jobs = append(jobs, job)
	}
	return jobs, lines.Err()
}

func parse(line string, rates throughputs) (Job, error) {
	const least = 7
	fields := strings.Split(line, "\t")
	if len(fields) < least {
		return Job{}, fmt.Errorf("%d fields, want %d", len(fields), least)
	}
	last := fields[len(fields)-3:]
	steps, err := strconv.ParseFloat(last[0], 64)
	if err != nil {
		return Job{}, fmt.Errorf("steps: %w", err)
	}
	at, err := strconv.ParseFloat(last[1], 64)
	if err != nil {
		return Job{}, fmt.Errorf("arrival: %w", err)
	}
	gpus, err := strconv.Atoi(last[2])
	if err != nil {
		return Job{}, fmt.Errorf("GPUs: %w", err)
	}
	rate, err := rates.of(fields[0], gpus)
	if err != nil {
		return Job{}, err
	}
	job := Job{At: int64(at), Duration: max(1, int64(steps/rate)), Workers: 1, PerWorker: gpus}
	if gpus > perNode { // whole nodes, as such gangs are placed
		job.Workers, job.PerWorker = (gpus+perNode-1)/perNode, perNode
	}
	return job, nil
}

// of is the throughput of a job type on so many GPUs; where it was not measured, that on the next smaller number.
func (t throughputs) of(kind string, gpus int) (float64, error) {
	for ; gpus > 0; gpus-- {
		if rate := t[fmt.Sprintf("('%s', %d)", kind, gpus)]; rate > 0 {
			return rate, nil
		}
	}
	return 0, fmt.Errorf("no throughput of %q", kind)
}
