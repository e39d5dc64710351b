// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bourse-dev/bourse/internal/access"
)

const dashboardLong = `Opens the Ray dashboard of a job at an address of this machine alone, until it is ended. What asks there is the job's owner, so
ray job status, submit and logs work, too; they need no token. Each part of a job that is split has a dashboard of its own. A job that was
mirrored may be named as in your own cluster.`

const dashboardExample = `  kubectl bourse dashboard train -n my-team
  ray job list --address http://127.0.0.1:8265`

const (
	dashboardPort = 8265
	headersWithin = 10 * time.Second
)

// dashboardCommand serves a job's dashboard.
type dashboardCommand struct {
	gateway gatewayFlags
	port    int
}

func newDashboard(hub *hubFlags) *cobra.Command {
	c := &dashboardCommand{gateway: gatewayFlags{hub: hub}}
	cmd := &cobra.Command{
		Use:     "dashboard JOB",
		Short:   "Open the Ray dashboard of a job on this machine",
		Long:    dashboardLong,
		Example: dashboardExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	cmd.Flags().IntVar(&c.port, "port", dashboardPort, "port of 127.0.0.1 to serve at; 0 takes a free one")
	c.gateway.add(cmd.Flags())
	return cmd
}

func (c *dashboardCommand) run(ctx context.Context, stdout, stderr io.Writer, name string) error {
	view, err := c.gateway.open(ctx, stderr, name)
	if err != nil {
		return err
	}
	version, err := view.get(ctx, access.Ray+"/api/version", nil) // so that what is wrong is said now, and not in a browser
	if err != nil {
		return err
	}
	if err := version.Close(); err != nil {
		return fmt.Errorf("ask Ray for its version: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
	if err != nil {
		return fmt.Errorf("--port: %w; choose another, or 0", err)
	}
	address := listener.Addr().String()
	handler, err := view.dashboard(address)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(stdout, "The dashboard of job %s:  http://%s\n", view.job.Name, address)
	fmt.Fprintf(stdout, "Its programs:  ray job list --address http://%s\nEnd it with Ctrl-C.\n", address)
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headersWithin, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: log.New(io.Discard, "", 0), // what is cut off is the browser's to see
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody is left to be told
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// dashboard passes on what this machine asks. A page of somebody else's that is open in a browser here gets nothing: neither under another
// name of the address, nor from another origin.
func (v *jobView) dashboard(address string) (http.Handler, error) {
	base, err := url.Parse(v.url(access.Ray, nil))
	if err != nil {
		return nil, fmt.Errorf("make URL: %w", err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("make URL: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			access.Strip(r.Out.Header)
			if r.Out.Header.Get("Origin") != "" {
				r.Out.Header.Set("Origin", base.Scheme+"://"+base.Host)
			}
		},
		Transport: v.http, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(writer http.ResponseWriter, _ *http.Request, err error) {
			http.Error(writer, "The gateway does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		host, _, _ := strings.Cut(request.Host, ":")
		if request.Host != net.JoinHostPort(host, port) || host != "127.0.0.1" && host != "localhost" {
			http.Error(writer, "Open http://"+address, http.StatusForbidden)
			return
		}
		if foreign(request) {
			http.Error(writer, "Another page may not ask here", http.StatusForbidden)
			return
		}
		http.NewCrossOriginProtection().Handler(proxy).ServeHTTP(writer, request)
	}), nil
}

// foreign says whether a browser asks for another page. A link to the dashboard's first page may be followed; Ray does things also for who only
// gets.
func foreign(request *http.Request) bool {
	if origin := request.Header.Get("Origin"); origin != "" && origin != "http://"+request.Host { // a WebSocket too
		return true
	}
	switch request.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	default:
		return request.Header.Get("Sec-Fetch-Dest") != "document" || request.URL.Path != "/"
	}
}
