// SPDX-License-Identifier: Apache-2.0

// Package process owns the lab's background processes: each is detached from
// the command that starts it and found again by its pid and start time, so that
// a pid which the system gave to somebody else is never taken for ours.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	pollEvery = 20 * time.Millisecond
	tailBytes = 4 << 10
)

// ErrEnded tells that a process that should run has ended.
var ErrEnded = errors.New("process ended")

// Record tells which process was started.
type Record struct {
	Name string   `json:"name"`
	PID  int      `json:"pid"`
	Born uint64   `json:"born"`
	Args []string `json:"args"`
	Log  string   `json:"log"`
}

// Spec is a process to start.
type Spec struct {
	Name string
	Args []string
	// Env is added to the environment of this process.
	Env []string
	// Dir is where it starts; empty: in the table's folder.
	Dir string
	// Files become file descriptors 3 and on.
	Files []*os.File
}

// Table is the folder that remembers processes and keeps their logs.
type Table struct{ Dir string }

// Start starts a process in a session of its own, with its output in logs/NAME.log.
func (t Table) Start(s Spec) (Record, error) {
	for _, dir := range []string{t.path("proc"), t.path("logs")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return Record{}, fmt.Errorf("make folder: %w", err)
		}
	}
	record := Record{Name: s.Name, Args: s.Args, Log: t.path("logs", s.Name+".log")}
	log, err := os.OpenFile(record.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Record{}, fmt.Errorf("open log: %w", err)
	}
	defer log.Close() //nolint:errcheck // The process writes to its own copy.
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = s.Dir
	if cmd.Dir == "" {
		cmd.Dir = t.Dir
	}
	cmd.ExtraFiles = s.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Record{}, fmt.Errorf("start %s: %w", s.Name, err)
	}
	record.PID = cmd.Process.Pid
	if record.Born, _, err = born(record.PID); err != nil {
		return record, errors.Join(fmt.Errorf("read birth of %s: %w", s.Name, err), cmd.Process.Kill())
	}
	// Reap it, should it end while this command still runs.
	go func() { _ = cmd.Wait() }()
	if err := t.save(record); err != nil {
		return record, errors.Join(fmt.Errorf("remember %s: %w", s.Name, err), cmd.Process.Kill())
	}
	return record, nil
}

// List returns all processes that were started and not stopped, by name.
func (t Table) List() ([]Record, error) {
	files, err := filepath.Glob(t.path("proc", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var records []Record
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read record: %w", err)
		}
		var record Record
		if err := json.Unmarshal(data, &record); err != nil {
			return nil, fmt.Errorf("parse %s: %w", file, err)
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
	return records, nil
}

// Stop ends the processes with everything in their sessions' groups, waits until they are gone, and forgets them.
func (t Table) Stop(ctx context.Context, records []Record, signal syscall.Signal) error {
	for _, record := range records {
		if !record.Alive() {
			continue
		}
		if err := syscall.Kill(-record.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %s: %w", record.Name, err)
		}
	}
	for _, record := range records {
		if err := record.awaitEnd(ctx); err != nil {
			return err
		}
		if err := os.Remove(t.path("proc", record.Name+".json")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget %s: %w", record.Name, err)
		}
	}
	return nil
}

// Alive tells whether the very process that was started still runs.
func (r Record) Alive() bool {
	now, alive, err := born(r.PID)
	return err == nil && alive && now == r.Born
}

// Await polls until done says so. It ends early when the process or ctx does, with the end of the log.
func (r Record) Await(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		alive := r.Alive()
		if ok, err := done(); err != nil || ok {
			return err
		}
		if !alive {
			return fmt.Errorf("%w: %s\n%s", ErrEnded, r.Name, r.Tail())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w\n%s", r.Name, ctx.Err(), r.Tail())
		case <-ticker.C:
		}
	}
}

// Tail returns the end of the process's log.
func (r Record) Tail() string {
	data, err := os.ReadFile(r.Log)
	if err != nil {
		return err.Error()
	}
	if len(data) > tailBytes {
		data = data[len(data)-tailBytes:]
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	return fmt.Sprintf("the end of %s:\n%s", r.Log, data)
}

func (r Record) awaitEnd(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for r.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("await end of %s: %w", r.Name, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

func (t Table) path(elements ...string) string {
	return filepath.Join(append([]string{t.Dir}, elements...)...)
}

func (t Table) save(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return os.WriteFile(t.path("proc", r.Name+".json"), append(data, '\n'), 0o600)
}

// born returns when a process started, in clock ticks since boot, and whether it
// still lives: one that has ended stays until its parent looks.
func born(pid int) (start uint64, alive bool, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false, fmt.Errorf("read process state: %w", err)
	}
	return parseStat(string(data))
}

// parseStat reads a line of /proc/PID/stat. The program's name, in
// parentheses, may itself hold spaces and parentheses.
func parseStat(line string) (start uint64, alive bool, err error) {
	const stateField, startField = 0, 19
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) <= startField {
		return 0, false, fmt.Errorf("parse process state %q: too short", line)
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("parse process state %q: %w", line, err)
	}
	return start, fields[stateField] != "Z" && fields[stateField] != "X", nil
}
