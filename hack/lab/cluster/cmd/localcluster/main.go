// SPDX-License-Identifier: Apache-2.0

// Command localcluster is a Kubernetes control plane in one program, for labs and tests on one machine.
//
//	localcluster COMPONENT [flags]   one component, as if it were called by its own name
//	localcluster up [flags]          a whole control plane, in this process or in one process per component
//
// A link to it that has a component's name runs that component.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		run()
		return
	}
	if len(os.Args) < 2 {
		usage()
	}
	name := os.Args[1]
	if run, ok := components[name]; ok {
		os.Args = append([]string{name}, os.Args[2:]...)
		run()
		return
	}
	if name != "up" {
		usage()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := up(ctx, os.Args[2:], os.Stdout, time.Now); err != nil {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: localcluster up [flags]\n       localcluster COMPONENT [flags]\ncomponents:", names())
	os.Exit(2)
}
