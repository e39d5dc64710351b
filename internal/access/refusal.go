// SPDX-License-Identifier: Apache-2.0

package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// Reason says in one word why a request was refused. It is an error itself, so that errors.Is finds it in a Refusal. Reasons are what users
// and programs see.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons.
//
//nolint:errname // reasons are named as users see them
const (
	Malformed       Reason = "Malformed"       // the request cannot be read
	Unauthenticated Reason = "Unauthenticated" // it has no token, or one that the hub does not know
	Forbidden       Reason = "Forbidden"       // who asks may not, or is suspended
	Busy            Reason = "Busy"            // more is asked than can be looked after
	Standby         Reason = "Standby"         // another replica of the gateway serves
	Unavailable     Reason = "Unavailable"     // the hub cannot say now
	JobUnknown      Reason = "JobUnknown"      // there is no such job
	NoLease         Reason = "NoLease"         // the job has no lease yet
	PartUnknown     Reason = "PartUnknown"     // the job has no such part
	LeaseUnknown    Reason = "LeaseUnknown"    // the lease is gone, or another job's
	NotConnected    Reason = "NotConnected"    // the lease's supplier has no tunnel to the gateway now
	LeaseEnded      Reason = "LeaseEnded"      // the lease has ended, and its pods are gone
	NotStarted      Reason = "NotStarted"      // what is asked for has not started yet
	NoProgram       Reason = "NoProgram"       // the job is an interactive cluster, and has no program that writes anything
	TooLong         Reason = "TooLong"         // there is more of it than can be sent at once
	Unreachable     Reason = "Unreachable"     // the supplier cannot reach the pod
)

// Reasons lists them, for whoever counts by reason.
func Reasons() []Reason {
	return []Reason{
		Malformed, Unauthenticated, Forbidden, Busy, Standby, Unavailable, JobUnknown, NoLease, PartUnknown, LeaseUnknown, NotConnected,
		LeaseEnded, NotStarted, NoProgram, TooLong, Unreachable,
	}
}

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// status is the HTTP status that goes with the reason.
func (r Reason) status() int {
	switch r {
	case Malformed:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case Busy:
		return http.StatusTooManyRequests
	case JobUnknown, PartUnknown, LeaseUnknown, NoProgram:
		return http.StatusNotFound
	case NoLease, NotStarted:
		return http.StatusConflict
	case LeaseEnded:
		return http.StatusGone
	case TooLong:
		return http.StatusRequestEntityTooLarge
	case Unreachable:
		return http.StatusBadGateway
	default:
		return http.StatusServiceUnavailable
	}
}

// again is after how long it is worth asking again, or 0.
func (r Reason) again() time.Duration {
	switch r {
	case Standby:
		return time.Second
	case Busy, NotConnected, Unavailable, NotStarted:
		return 5 * time.Second
	default:
		return 0
	}
}

// Refusal says that a request was refused, and what to do about it.
//
//nolint:errname // a decision, and an error only to whoever expected an answer
type Refusal struct {
	Reason Reason `json:"reason"`
	Detail string `json:"message"` // one sentence for people
}

// Error describes the refusal on one line.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// Refuse returns a Refusal.
func Refuse(reason Reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}

// headerReason is on every answer that is a refusal, so that nobody takes what Ray answers for one.
const headerReason = "Bourse-Reason"

// Write answers with the refusal.
func (r *Refusal) Write(writer http.ResponseWriter) error {
	header := writer.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set(headerReason, string(r.Reason))
	if again := r.Reason.again(); again > 0 {
		header.Set("Retry-After", strconv.Itoa(int(again.Seconds())))
	}
	if r.Reason == Standby {
		header.Set("Connection", "close") // the next connection may lead to another replica
	}
	writer.WriteHeader(r.Reason.status())
	return json.NewEncoder(writer).Encode(r)
}

// maxRefusal is far above what a refusal takes.
const maxRefusal = 8 << 10

// RefusalOf is the *Refusal that an answer is, or nil when it is none. It leaves the body of what is none unread.
func RefusalOf(response *http.Response) error {
	reason := ReasonOf(response.Header)
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if reason == "" || err != nil || kind != "application/json" {
		return nil //nolint:nilerr // an answer that is no refusal is no error
	}
	refusal := &Refusal{}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxRefusal)).Decode(refusal); err != nil {
		return fmt.Errorf("read refusal: %w", err)
	}
	if refusal.Reason != reason {
		return errors.New("read refusal: it names two reasons")
	}
	return refusal
}

// ReasonOf is the reason that an answer's header names, or empty. The body is left unread.
func ReasonOf(header http.Header) Reason { return Reason(header.Get(headerReason)) }
