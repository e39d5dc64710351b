// SPDX-License-Identifier: Apache-2.0

// Package access is the language in which buyers look at what runs on their leases: where they ask the hub's gateway, where the gateway asks
// the supplier, and why neither answers. It knows neither connections nor clusters.
package access

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The ends of the paths below a job, in the gateway, and below a lease, at its supplier.
const (
	Log    = "log"    // what a container writes
	Output = "output" // what the Ray program writes
	Ray    = "ray"    // Ray's dashboard, and what is below it
)

// The gateway's path for a member's tunnel, and its paths for a job, as http.ServeMux reads them.
const (
	TunnelPath = "/v1/namespaces/{namespace}/tunnel"
	jobPath    = "/v1/namespaces/{namespace}/computejobs/{job}/"
	LogPath    = jobPath + Log
	OutputPath = jobPath + Output
	RayPath    = jobPath + Ray + "/{path...}"
)

// The gateway's paths for one part of a job; those without a part lead to part 0.
const (
	partPath       = jobPath + "parts/{part}/"
	PartLogPath    = partPath + Log
	PartOutputPath = partPath + Output
	PartRayPath    = partPath + Ray + "/{path...}"
)

// A supplier's paths for a lease, as http.ServeMux reads them.
const (
	leasePath       = "/leases/{lease}/"
	LeaseLogPath    = leasePath + Log
	LeaseOutputPath = leasePath + Output
	LeaseRayPath    = leasePath + Ray + "/{path...}"
)

// OfTunnel is where a member opens its tunnel.
func OfTunnel(namespace string) string {
	return "/v1/namespaces/" + url.PathEscape(namespace) + "/tunnel"
}

// OfJob is where the gateway answers for a job; of one that is split, for part 0.
func OfJob(namespace, job, what string) string {
	return "/v1/namespaces/" + url.PathEscape(namespace) + "/computejobs/" + url.PathEscape(job) + "/" + what
}

// OfPart is where the gateway answers for a part of a job.
func OfPart(namespace, job string, part int, what string) string {
	return OfJob(namespace, job, "parts/"+strconv.Itoa(part)+"/"+what)
}

// OfLease is where a supplier answers for a lease.
func OfLease(lease, what string) string { return "/leases/" + url.PathEscape(lease) + "/" + what }

// ReadPart reads the number of a part, which counts from 0 as the program's BOURSE_PART does. What is wrong with it is a *Refusal.
func ReadPart(text string) (int, error) {
	part, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, Refuse(Malformed, "part must be a number from 0, as BOURSE_PART is, not %.32q", text)
	}
	return int(part), nil
}

// Head is the Ray head among the containers that have a log; workers are numbers.
const Head = "head"

// Bounds of what is asked for.
const (
	mostTail  = 100_000
	mostSince = 30 * 24 * time.Hour
	// mostWorkers is how many workers a lease may have.
	mostWorkers = 128
)

// LogQuery is which log is asked for, and how much of it.
type LogQuery struct {
	Worker *int          // nil: the head's
	Follow bool          // go on until it ends
	Tail   *int64        // the last lines only
	Since  time.Duration // what is younger than that only; 0: all
}

// ReadQuery reads the query of a log or an output. What is wrong with it is a *Refusal that names the parameter.
func ReadQuery(values url.Values) (LogQuery, error) {
	var q LogQuery
	for name, texts := range values {
		if len(texts) != 1 {
			return LogQuery{}, Refuse(Malformed, "Give %.32q once", name)
		}
		if err := q.set(name, texts[0]); err != nil {
			return LogQuery{}, err
		}
	}
	return q, nil
}

func (q *LogQuery) set(name, text string) error {
	switch name {
	case "worker":
		return q.setWorker(text)
	case "follow":
		return q.setFollow(text)
	case "tail":
		return q.setTail(text)
	case "since":
		return q.setSince(text)
	default:
		return Refuse(Malformed, "%.32q is no parameter: there are worker, follow, tail and since", name)
	}
}

func (q *LogQuery) setWorker(text string) error {
	if text == Head {
		return nil
	}
	worker, err := strconv.Atoi(text)
	if err != nil || worker < 0 || worker >= mostWorkers {
		return Refuse(Malformed, "worker must be %s, or a number from 0 to %d", Head, mostWorkers-1)
	}
	q.Worker = &worker
	return nil
}

func (q *LogQuery) setFollow(text string) error {
	follow, err := strconv.ParseBool(text)
	if err != nil {
		return Refuse(Malformed, "follow must be true or false")
	}
	q.Follow = follow
	return nil
}

func (q *LogQuery) setTail(text string) error {
	tail, err := strconv.ParseInt(text, 10, 64)
	if err != nil || tail < 0 || tail > mostTail {
		return Refuse(Malformed, "tail must be a number of lines from 0 to %d", mostTail)
	}
	q.Tail = &tail
	return nil
}

func (q *LogQuery) setSince(text string) error {
	since, err := time.ParseDuration(text)
	if err != nil || since < time.Second || since > mostSince {
		return Refuse(Malformed, "since must be a time such as 10m, from 1s to %s", mostSince)
	}
	q.Since = since
	return nil
}

// Values is the query as ReadQuery reads it.
func (q LogQuery) Values() url.Values {
	values := url.Values{}
	if q.Worker != nil {
		values.Set("worker", strconv.Itoa(*q.Worker))
	}
	if q.Follow {
		values.Set("follow", "true")
	}
	if q.Tail != nil {
		values.Set("tail", strconv.FormatInt(*q.Tail, 10))
	}
	if q.Since > 0 {
		values.Set("since", q.Since.String())
	}
	return values
}

// Verb is what a request does to what it asks for, in Kubernetes' words; empty when it is none of them.
func Verb(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return ""
	}
}

// Strip takes away what a request must not take with it: who asks, and everything that could be taken for it further on.
func Strip(header http.Header) {
	for name := range header {
		switch canonical := http.CanonicalHeaderKey(name); {
		case canonical == "Authorization", canonical == "X-Ray-Authorization", canonical == "Cookie", canonical == "Forwarded",
			strings.HasPrefix(canonical, "Proxy-"), strings.HasPrefix(canonical, "Impersonate-"),
			strings.HasPrefix(canonical, "X-Forwarded-"), strings.HasPrefix(canonical, "X-Remote-"), strings.HasPrefix(canonical, "Bourse-"):
			delete(header, name)
		}
	}
}

// StripAnswer takes away what an answer of Ray's must not bring with it: cookies, of which one has Ray's token, and what would pass for a
// refusal or an upgrade of ours.
func StripAnswer(header http.Header) {
	for name := range header {
		if canonical := http.CanonicalHeaderKey(name); canonical == "Set-Cookie" || strings.HasPrefix(canonical, "Bourse-") {
			delete(header, name)
		}
	}
}

// Gateway says where a gateway is, and by which certificates (PEM) it is known; without any, by the system's.
type Gateway struct {
	URL         string
	Authorities string
}

// String names the gateway.
func (g Gateway) String() string { return g.URL }

// Base is the gateway's URL without a slash at its end. It is an error if it is no URL that a gateway may have.
func (g Gateway) Base() (string, error) {
	parsed, err := url.Parse(g.URL)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" ||
		strings.Trim(parsed.Path, "/") != "" {
		return "", fmt.Errorf("the gateway's URL must be like https://gateway.example or https://gateway.example:9445, not %.128q", g.URL)
	}
	return "https://" + parsed.Host, nil
}
