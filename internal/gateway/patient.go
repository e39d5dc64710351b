// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// patient gives each read and write of a request its own time, so that a log can be followed for days, and a client that neither sends nor
// reads is not waited for.
func patient(writer http.ResponseWriter, request *http.Request, now func() time.Time) *patientWriter {
	control := http.NewResponseController(writer)
	if request.Body != nil && request.Body != http.NoBody {
		body := &patientBody{ReadCloser: request.Body, control: control, now: now}
		body.wait()
		request.Body = body
	}
	return &patientWriter{ResponseWriter: writer, control: control, now: now}
}

type patientWriter struct {
	http.ResponseWriter

	control *http.ResponseController
	now     func() time.Time
}

// Unwrap is for http.ResponseController.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader begins an answer, which may have no more than a head.
func (p *patientWriter) WriteHeader(status int) {
	_ = p.control.SetWriteDeadline(p.now().Add(writeWithin)) // a connection that has ended has no deadline, and takes no answer
	p.ResponseWriter.WriteHeader(status)
}

// Write writes while the client reads.
func (p *patientWriter) Write(from []byte) (int, error) {
	if err := p.control.SetWriteDeadline(p.now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(from)
}

// Hijack takes the connection over, which goes on to be patient.
func (p *patientWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := p.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &patientConn{Conn: conn, now: p.now}, buffered, nil
}

type patientConn struct {
	net.Conn

	now func() time.Time
}

// Write writes while the client reads. A client of an upgraded connection that reads nothing would be waited for also when its right has ended.
func (p *patientConn) Write(from []byte) (int, error) {
	if err := p.SetWriteDeadline(p.now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return p.Conn.Write(from)
}

type patientBody struct {
	io.ReadCloser

	control *http.ResponseController
	now     func() time.Time
}

func (p *patientBody) wait() {
	_ = p.control.SetReadDeadline(p.now().Add(readWithin)) // a connection that has ended has no deadline, and the next read says so
}

// Read reads while the client sends. When there is no more, the server watches the connection, which may be silent.
func (p *patientBody) Read(into []byte) (int, error) {
	p.wait()
	n, err := p.ReadCloser.Read(into)
	if err != nil {
		_ = p.control.SetReadDeadline(time.Time{}) // as above
	}
	return n, err
}
