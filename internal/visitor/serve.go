// SPDX-License-Identifier: Apache-2.0

package visitor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// addresses is how many addresses it takes at least to have all connections.
const addresses = 8

// stopWithin is how long requests that are under way may take when the server is to stop.
const stopWithin = 5 * time.Second

// Serve answers strangers on the listener by HTTPS until the context ends, so many connections at a time, of which one address has an eighth
// at the most. The certificate is asked for with each connection, so that it can be renewed.
func Serve(
	ctx context.Context, listener net.Listener, mostConnections int, server *http.Server,
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error),
) error {
	server.ErrorLog = log.New(io.Discard, "", 0) // strangers would fill it
	fair := share(netutil.LimitListener(listener, mostConnections), max(1, mostConnections/addresses))
	secured := tls.NewListener(fair, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate,
		NextProtos: []string{"http/1.1"}, // HTTP/2 lets one client reset streams without end, and a connection that is upgraded is so as a whole
	})
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		stopped <- server.Shutdown(within)
	})
	if err := server.Serve(secured); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}
