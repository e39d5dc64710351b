// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
)

const (
	// supplier is the member that sells, if no supplier is a cluster of its own.
	supplier = "supplier"
	// rayStarted is in the log of every container of a Ray cluster that has come up.
	rayStarted = "Ray runtime started."
	// lookLimit is how long something that is there may take to be seen through the gateway.
	lookLimit = time.Minute
)

// Seen holds that the buyer sees its program through the market's gateway, with its own rights: Ray's dashboard and the logs while it runs,
// its output to the last line, and in the end that it is over and why; and that another member sees nothing. What takes time and needs no
// program comes first, since a program may be short.
func (t *Teller) Seen(ctx context.Context, lab *Lab, job *Job, last string) (err error) {
	open, err := t.open(ctx, lab, job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.close()) }()
	for _, look := range []func(context.Context, *Lab, *Job, *dashboard) error{t.page, t.version, t.refused, t.head, t.runs} {
		if err := look(ctx, lab, job, open); err != nil {
			return err
		}
	}
	err = t.Output(ctx, lab, job, last, func(ctx context.Context) error {
		return errors.Join(t.workers(ctx, lab, job), t.show(ctx, lab, job))
	})
	if err != nil {
		return err
	}
	return t.over(ctx, lab, job, open)
}

// script is the program of the dashboard's page.
var script = regexp.MustCompile(`<script [^>]*src="\.(/static/js/[^"]+)"`)

// page holds that the dashboard's page is there, with the program that fills it.
func (t *Teller) page(ctx context.Context, _ *Lab, _ *Job, open *dashboard) error {
	page, _, err := open.get(ctx, "/")
	if err != nil {
		return err
	}
	named := script.FindSubmatch(page)
	if !bytes.Contains(page, []byte("<title>Ray Dashboard</title>")) || named == nil {
		return fmt.Errorf("this is not the page of Ray's dashboard: %.500s", page)
	}
	program, kind, err := open.get(ctx, string(named[1]))
	if err != nil {
		return err
	}
	if !strings.Contains(kind, "javascript") || len(program) == 0 {
		return fmt.Errorf("%s has %d bytes of %q, want the page's program", named[1], len(program), kind)
	}
	t.Say("the buyer opens Ray's dashboard: a page, and its program of %d bytes", len(program))
	return nil
}

// version holds that the dashboard is of the Ray that the job asks for.
func (t *Teller) version(ctx context.Context, _ *Lab, job *Job, open *dashboard) error {
	var answer struct {
		Ray string `json:"ray_version"`
	}
	if err := open.read(ctx, "/api/version", &answer); err != nil {
		return err
	}
	if answer.Ray != job.Object.Spec.Ray.Version {
		return fmt.Errorf("the dashboard is of Ray %q, want %q", answer.Ray, job.Object.Spec.Ray.Version)
	}
	t.Say("GET /api/version   Ray %s", answer.Ray)
	return nil
}

// runs holds that Ray has the job's program and no other, that it comes to run, and that its output is followed as ray job logs --follow does.
func (t *Teller) runs(ctx context.Context, lab *Lab, job *Job, open *dashboard) error {
	var programs []struct {
		ID         string `json:"submission_id"`
		Entrypoint string `json:"entrypoint"`
		Status     string `json:"status"`
	}
	err := t.Wait(ctx, "Ray to run the program", startLimit, func(ctx context.Context) (bool, error) {
		programs = nil
		err := errors.Join(t.Look(ctx, lab, job), open.read(ctx, "/api/jobs/", &programs))
		if err != nil || len(programs) == 0 {
			return false, err // it has not been submitted yet
		}
		t.once("program of "+job.Name, programs[0].Status, "GET /api/jobs/     %s is %s: %s", programs[0].ID, programs[0].Status, programs[0].Entrypoint)
		return programs[0].Status != "PENDING", nil
	})
	if err != nil {
		return err
	}
	if len(programs) != 1 || programs[0].Entrypoint != job.Object.Spec.Ray.Entrypoint || programs[0].Status != "RUNNING" {
		return fmt.Errorf("the dashboard has the programs %+v, want one of %q that runs", programs, job.Object.Spec.Ray.Entrypoint)
	}
	first, err := open.hear(ctx, "/api/jobs/"+programs[0].ID+"/logs/tail")
	if err != nil {
		return err
	}
	if !strings.Contains(first, programs[0].Entrypoint) {
		return fmt.Errorf("the dashboard begins to follow the program with %q, want its entrypoint in it", first)
	}
	t.Say("WebSocket tail     %d bytes so far", len(first))
	return nil
}

// head holds that the buyer reads what Ray writes on the head.
func (t *Teller) head(ctx context.Context, lab *Lab, job *Job, _ *dashboard) error {
	pods, err := rayPods(ctx, lab, job, "head")
	if err != nil {
		return err
	}
	if len(pods) != 1 {
		return fmt.Errorf("%s has %d heads", job.Name, len(pods))
	}
	return t.reads(ctx, lab, job, &pods[0], "--head")
}

// workers holds that the buyer reads what Ray writes on each worker.
func (t *Teller) workers(ctx context.Context, lab *Lab, job *Job) error {
	pods, err := rayPods(ctx, lab, job, "worker")
	if err != nil {
		return err
	}
	if len(pods) != int(job.Lease.Spec.Workers) {
		return fmt.Errorf("%s has %d workers, want %d", job.Name, len(pods), job.Lease.Spec.Workers)
	}
	for i := range pods {
		if err := t.reads(ctx, lab, job, &pods[i], "--worker", strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// rayPods are the pods of one kind of a job's Ray cluster, in the order in which workers are numbered.
func rayPods(ctx context.Context, lab *Lab, job *Job, kind string) ([]corev1.Pod, error) {
	pods, err := Pods(ctx, lab, job)
	if err != nil {
		return nil, err
	}
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.Labels["ray.io/node-type"] != kind })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

// reads holds that the buyer reads a pod's own log, in which Ray has started.
func (t *Teller) reads(ctx context.Context, lab *Lab, job *Job, pod *corev1.Pod, which ...string) error {
	var text string
	err := t.Wait(ctx, "Ray to write that it has started on "+pod.Name, lookLimit, func(ctx context.Context) (_ bool, err error) {
		text, err = lab.Logs(ctx, buyer, job, which...)
		return strings.Contains(text, rayStarted), err
	})
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{"kubectl bourse logs"}, which...), " ")
	if !strings.Contains(text, pod.Status.PodIP) {
		return fmt.Errorf("%s is not the log of %s with address %s: %s", command, pod.Name, pod.Status.PodIP, text)
	}
	t.Say("the buyer reads with %s: %d lines of %s", command, strings.Count(text, "\n"), pod.Name)
	return nil
}

// refused holds that another member sees nothing of the job: neither with kubectl bourse, nor when it asks the gateway itself.
func (t *Teller) refused(ctx context.Context, lab *Lab, job *Job, _ *dashboard) error {
	if text, err := lab.Logs(ctx, supplier, job); err == nil || !strings.Contains(err.Error(), "forbidden") {
		return errors.Join(fmt.Errorf("another member asks for the logs of %s, and is not refused: %q", job.Name, text), err)
	}
	way, token, err := lab.gateway(ctx, supplier)
	if err != nil {
		return err
	}
	defer way.client.CloseIdleConnections()
	for _, what := range []string{access.Log, access.Output, access.Ray + "/api/version"} {
		text, _, err := get(ctx, way.client, way.url+access.OfJob(job.Namespace, job.Name, what), token)
		if !errors.Is(err, access.Forbidden) {
			return errors.Join(fmt.Errorf("another member asks the gateway for %s of %s, and is not refused: %q", what, job.Name, text), err)
		}
		t.once("another member", "refused", "another member is refused: %v", err)
	}
	return nil
}

// way is how the market's gateway is asked without kubectl bourse.
type way struct {
	client *http.Client
	url    string
}

// gateway is the way to the market's gateway, and a member's token.
func (l *Lab) gateway(ctx context.Context, member string) (to way, token string, err error) {
	var markets boursev1.MarketList
	if err := l.Client.List(ctx, &markets); err != nil {
		return way{}, "", fmt.Errorf("list markets: %w", err)
	}
	if len(markets.Items) != 1 || markets.Items[0].Spec.Gateway == nil {
		return way{}, "", errors.New("the market has no gateway")
	}
	found := markets.Items[0].Spec.Gateway
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM([]byte(found.CABundle)) {
		return way{}, "", errors.New("the gateway is known by no certificate")
	}
	config, err := clientcmd.BuildConfigFromFlags("", l.Access(member))
	if err != nil {
		return way{}, "", fmt.Errorf("read the kubeconfig of %s: %w", member, err)
	}
	secured := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}}
	return way{client: &http.Client{Transport: secured}, url: found.URL}, config.BearerToken, nil
}

// over holds that, when the job has ended, the gateway says so, and as what, whatever its buyer asks for.
func (t *Teller) over(ctx context.Context, lab *Lab, job *Job, open *dashboard) error {
	err := t.Wait(ctx, "the end of the lease of "+job.Name, endLimit, func(ctx context.Context) (bool, error) {
		err := t.Look(ctx, lab, job)
		return err == nil && job.Lease.Status.End != nil, err
	})
	if err != nil {
		return err
	}
	logs := func(which ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := lab.Logs(ctx, buyer, job, which...)
			return err
		}
	}
	want := string(access.LeaseEnded) + ": Lease " + job.Lease.Name + " has ended as " + job.Lease.Status.End.Reason
	for _, asked := range []struct {
		what string
		ask  func(context.Context) error
	}{
		{"logs", logs()},
		{"logs --head", logs("--head")},
		{"logs --worker 0", logs("--worker", "0")},
		{"dashboard", func(ctx context.Context) error {
			again, err := openOnce(ctx, lab, job)
			if err != nil {
				return err
			}
			return again.close()
		}},
		{"the dashboard that was open", func(ctx context.Context) error {
			_, _, err := open.get(ctx, "/api/version")
			return err
		}},
	} {
		// The manager may hear a moment later of what it has written.
		err := t.Wait(ctx, "the gateway to say that it is over", lookLimit, func(ctx context.Context) (bool, error) {
			err := asked.ask(ctx)
			if err == nil || !strings.Contains(err.Error(), want) {
				return false, errors.Join(fmt.Errorf("%s: want %q", asked.what, want), err)
			}
			t.once("over", "seen", "the buyer asks again: %v", err)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
