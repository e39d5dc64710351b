// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"

	"github.com/bourse-dev/bourse/internal/access"
)

// mostRead is more than any answer of Ray's dashboard has.
const mostRead = 64 << 20

// dashboard is a job's Ray dashboard, which kubectl bourse dashboard has opened on this machine.
type dashboard struct {
	command *exec.Cmd
	end     context.CancelFunc
	address string
}

// open opens the job's dashboard as its buyer does, as soon as it is there. It starts some time after its pod: until then the gateway says
// that it does not answer.
func (t *Teller) open(ctx context.Context, lab *Lab, job *Job) (*dashboard, error) {
	var found *dashboard
	err := t.Wait(ctx, "the dashboard of "+job.Name, startLimit, func(waits context.Context) (bool, error) {
		if err := t.Look(waits, lab, job); err != nil || job.Lease == nil || job.Lease.Status.Namespace == "" {
			return false, err
		}
		heads, err := rayPods(waits, lab, job, "head")
		if err != nil || len(heads) == 0 || heads[0].Status.Phase != corev1.PodRunning {
			return false, err
		}
		found, err = openOnce(ctx, lab, job) // it stays open when nobody waits any more
		return err == nil, err
	})
	return found, err
}

// opened is where kubectl bourse dashboard says that the dashboard is.
var opened = regexp.MustCompile(`http://127\.0\.0\.1:\d+\n`)

func openOnce(ctx context.Context, lab *Lab, job *Job) (*dashboard, error) {
	ctx, end := context.WithCancel(ctx)
	d := &dashboard{command: lab.Bourse(ctx, buyer, "dashboard", job.Name, "-n", job.Namespace, "--port", "0"), end: end}
	d.command.Cancel = func() error { return d.command.Process.Signal(os.Interrupt) } // as Ctrl-C does
	var why bytes.Buffer
	d.command.Stderr = &why
	output, err := d.command.StdoutPipe()
	if err == nil {
		err = d.command.Start()
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("start kubectl bourse: %w", err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if d.address = strings.TrimSpace(opened.FindString(line)); d.address == "" {
		end()
		return nil, fmt.Errorf("kubectl bourse dashboard: %w: %q %s", errors.Join(err, d.command.Wait()), line, strings.TrimSpace(why.String()))
	}
	return d, nil
}

// close ends the command as Ctrl-C does, which is no failure of it.
func (d *dashboard) close() error {
	d.end()
	if err := d.command.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("kubectl bourse dashboard: %w", err)
	}
	return nil
}

// read asks the dashboard's API.
func (d *dashboard) read(ctx context.Context, path string, into any) error {
	body, _, err := d.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("parse the answer of %s: %w: %.200s", path, err, body)
	}
	return nil
}

// hear opens a WebSocket at the dashboard, and returns the first that it says.
func (d *dashboard) hear(ctx context.Context, path string) (first string, err error) {
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(d.address, "http")+path, d.address)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	conn, err := config.DialContext(ctx)
	if err != nil {
		return "", fmt.Errorf("open WebSocket %s: %w", path, err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // who waits for a word waits no longer than that
	defer func() { _ = conn.Close() }()                         // it was only read
	if err := websocket.Message.Receive(conn, &first); err != nil {
		return "", fmt.Errorf("read WebSocket %s: %w", path, err)
	}
	return first, nil
}

// get asks the dashboard for something. What the gateway refuses is an *access.Refusal.
func (d *dashboard) get(ctx context.Context, path string) (body []byte, kind string, err error) {
	return get(ctx, http.DefaultClient, d.address+path, "")
}

// get returns what a URL has, and of what kind it is. What the gateway refuses is an *access.Refusal.
func get(ctx context.Context, by *http.Client, url, token string) (body []byte, kind string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", fmt.Errorf("make request: %w", err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := by.Do(request)
	if err != nil {
		return nil, "", fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if err := access.RefusalOf(response); err != nil {
		return nil, "", err
	}
	if body, err = io.ReadAll(io.LimitReader(response.Body, mostRead)); err != nil {
		return nil, "", fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s answers %s: %.200s", url, response.Status, body)
	}
	return body, response.Header.Get("Content-Type"), nil
}
