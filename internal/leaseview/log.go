// SPDX-License-Identifier: Apache-2.0

package leaseview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/ray"
)

// log sends what a container has written, and follows it if that is asked for.
func (s *Server) log(writer http.ResponseWriter, request *http.Request, of *lease) error {
	query, err := access.ReadQuery(request.URL.Query())
	if err != nil {
		return err
	}
	what, container, err := of.container(query.Worker)
	if err != nil {
		return err
	}
	options := &corev1.PodLogOptions{Container: container.Name, Follow: query.Follow, TailLines: query.Tail}
	if query.Since > 0 {
		options.SinceSeconds = new(int64(query.Since.Seconds()))
	}
	stream, err := s.pods.Pods(of.space).GetLogs(container.Pod, options).Stream(request.Context())
	switch {
	case apierrors.IsNotFound(err):
		return of.missing(what)
	case apierrors.IsBadRequest(err): // the API server's words for a container that has not started
		return access.Refuse(access.NotStarted, "%s of lease %s has not started yet, so that it has no log", what, of.Name)
	case err != nil:
		return fmt.Errorf("get log of %s: %w", container.Pod, err)
	}
	defer func() { _ = stream.Close() }() // it was only read
	s.send(request.Context(), writer, stream)
	return nil
}

// container is the head's, or a worker's, and what it is called.
func (l *lease) container(worker *int) (what string, found ray.Container, err error) {
	what = "The Ray head"
	found, there := ray.Head(l.pods)
	if worker != nil {
		if *worker >= int(l.Spec.Workers) {
			return "", ray.Container{}, access.Refuse(access.Malformed,
				"Lease %s has no worker %d: they are numbered from 0 to %d", l.Name, *worker, l.Spec.Workers-1)
		}
		what = fmt.Sprintf("Worker %d", *worker)
		found, there = ray.Worker(l.pods, *worker)
	}
	if !there {
		return "", ray.Container{}, l.missing(what)
	}
	return what, found, nil
}

// send sends a text as it comes. What breaks off in the middle breaks off for its reader too.
func (s *Server) send(ctx context.Context, writer http.ResponseWriter, text io.Reader) {
	header := writer.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(writer)
	buffer := make([]byte, 16<<10)
	err := flusher.Flush() // so that whoever follows knows that there is something to follow
	for err == nil {
		var n int
		if n, err = text.Read(buffer); n > 0 {
			if _, failed := writer.Write(buffer[:n]); failed != nil {
				return // its reader is gone
			}
			err = errors.Join(err, flusher.Flush())
		}
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		s.o.Log.V(1).Info("A log broke off", "problem", err.Error())
		panic(http.ErrAbortHandler) // net/http's own way of saying that an answer is not whole
	}
}
