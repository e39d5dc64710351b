// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bourse-dev/bourse/internal/kubelet"
	"github.com/bourse-dev/bourse/internal/nvml"
)

// The names of the classes of devices, as the flag has them.
const (
	classNVIDIA = "nvidia"
	classAMD    = "amd"
	classApple  = "apple"
	classCPU    = "cpu"
)

// leastInterval is how often devices may be read at most.
const leastInterval = time.Second

// options are the flags.
type options struct {
	node, namespace     string
	kubeconfig          string
	devices             []string
	library             string
	kubeletSocket       string
	root                string
	key                 string
	interval, heartbeat time.Duration
	address             string
	logLevel, logFormat string
	version             bool
}

// parse reads the flags and checks them. Its errors name the flag and say what to do.
func parse(args []string, output io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bourse-agent", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of the node, and so of its GPUNode; default: $NODE_NAME")
	fs.StringVar(&o.namespace, "namespace", "bourse-system", "`namespace` of the Lease bourse-agent-<node>, by which the agent shows that it is there")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` with access to the cluster; default: the pod's service account")
	devices := fs.String("devices", classNVIDIA+","+classAMD, "`list` of the devices to look for: nvidia, amd, apple, cpu")
	fs.StringVar(&o.library, "nvml-library", nvml.Library, "`file` of NVIDIA's driver library")
	fs.StringVar(&o.kubeletSocket, "kubelet-socket", kubelet.Socket, "`file` of the kubelet's PodResources socket; empty: the machine is no node of the cluster")
	fs.StringVar(&o.root, "root", "/", "`folder` below which /proc and /sys are")
	fs.StringVar(&o.key, "key", "/var/lib/bourse/agent.key", "`file` of the agent's key, which is made if there is none")
	fs.DurationVar(&o.interval, "interval", 30*time.Second, "how often the devices are read; an error that a driver reports is read at once")
	fs.DurationVar(&o.heartbeat, "heartbeat", 30*time.Second, "how often the agent shows that it is there")
	fs.StringVar(&o.address, "address", "127.0.0.1:8082", "`address` of /healthz and /metrics; 0 turns them off")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info or error")
	fs.StringVar(&o.logFormat, "log-format", "json", "json or console")
	fs.BoolVar(&o.version, "version", false, "print the version and stop")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: flags begin with --", fs.Arg(0))
	}
	o.devices = strings.Split(*devices, ",")
	if o.version {
		return o, nil
	}
	return o, o.check()
}

// check returns everything that is wrong, one line each.
func (o options) check() error {
	var problems []error
	if o.node == "" {
		problems = append(problems, errors.New("--node is required outside of a pod that has NODE_NAME: give the node's name"))
	} else if wrong := validation.IsDNS1123Subdomain(o.node); len(wrong) > 0 {
		problems = append(problems, fmt.Errorf("--node: %q cannot be a node: %s", o.node, wrong[0]))
	}
	if wrong := validation.IsDNS1123Label(o.namespace); len(wrong) > 0 {
		problems = append(problems, fmt.Errorf("--namespace: %q cannot be a namespace: %s", o.namespace, wrong[0]))
	}
	for i, class := range o.devices {
		if !slices.Contains([]string{classNVIDIA, classAMD, classApple, classCPU}, class) || slices.Contains(o.devices[:i], class) {
			problems = append(problems, fmt.Errorf("--devices: %q is none of nvidia, amd, apple and cpu, or is there twice", class))
		}
	}
	if !filepath.IsAbs(o.key) {
		problems = append(problems, fmt.Errorf("--key: %q is no absolute path", o.key))
	}
	if o.interval < leastInterval || o.heartbeat < leastInterval {
		problems = append(problems, errors.New("--interval and --heartbeat must be 1s at least: 30s is a good value"))
	}
	if o.address != "0" {
		if _, _, err := net.SplitHostPort(o.address); err != nil {
			problems = append(problems, fmt.Errorf("--address: %q is not host:port", o.address))
		}
	}
	return errors.Join(problems...)
}
