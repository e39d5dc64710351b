// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/bourse-dev/bourse/hack/lab/cluster/plane"
)

// single runs the whole control plane in this process until ctx or a component ends.
// The components' own commands cannot share a process, since each installs the one
// signal handler; their Run functions can.
func single(ctx context.Context, p *plane.Plane, step progress) error {
	// Every component applies its logging flags; without this the second one refuses.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	etcd, err := startEtcd(ctx, p)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	step("etcd ready")
	ended := make(chan error, 3)
	if err := startAPIServer(ctx, p, ended); err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	if err := await(ctx, p, plane.ServingPath, ended); err != nil {
		return err
	}
	step("API server ready")
	if err := startControllerManager(ctx, p, ended); err != nil {
		return fmt.Errorf("start kube-controller-manager: %w", err)
	}
	if err := startScheduler(ctx, p, ended); err != nil {
		return fmt.Errorf("start kube-scheduler: %w", err)
	}
	return serve(ctx, p, ended, step)
}

func startEtcd(ctx context.Context, p *plane.Plane) (*embed.Etcd, error) {
	client, err := url.Parse(p.EtcdURL())
	if err != nil {
		return nil, fmt.Errorf("parse client URL: %w", err)
	}
	peer, err := url.Parse(p.PeerURL())
	if err != nil {
		return nil, fmt.Errorf("parse peer URL: %w", err)
	}
	config := embed.NewConfig()
	config.Dir = p.EtcdDir()
	config.LogLevel = "warn"
	config.QuotaBackendBytes = 8 << 30
	config.UnsafeNoFsync = true
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(startWithin):
		err = errors.New("not ready in time")
	}
	etcd.Close()
	return nil, err
}

func startAPIServer(ctx context.Context, p *plane.Plane, ended chan<- error) error {
	options := apiserveroptions.NewServerRunOptions()
	if err := parse(options.Flags(), p.APIServerFlags()); err != nil {
		return err
	}
	if err := options.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("set feature gates: %w", err)
	}
	completed, err := options.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete options: %w", err)
	}
	if err := errors.Join(completed.Validate()...); err != nil {
		return fmt.Errorf("validate options: %w", err)
	}
	go func() { ended <- fmt.Errorf("kube-apiserver ended: %w", apiserver.Run(ctx, completed)) }()
	return nil
}

func startControllerManager(ctx context.Context, p *plane.Plane, ended chan<- error) error {
	options, err := controllermanageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return fmt.Errorf("make options: %w", err)
	}
	known, disabled, aliases := controllermanager.KnownControllers(), controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	flags := options.Flags(known, disabled, aliases)
	options.ParsedFlags = &flags
	if err := parse(flags, p.ControllerManagerFlags()); err != nil {
		return err
	}
	config, err := options.Config(ctx, known, disabled, aliases)
	if err != nil {
		return fmt.Errorf("make config: %w", err)
	}
	go func() {
		ended <- fmt.Errorf("kube-controller-manager ended: %w", controllermanager.Run(ctx, config.Complete()))
	}()
	return nil
}

func startScheduler(ctx context.Context, p *plane.Plane, ended chan<- error) error {
	options := scheduleroptions.NewOptions()
	if err := parse(*options.Flags, p.SchedulerFlags()); err != nil {
		return err
	}
	config, sched, err := scheduler.Setup(ctx, options)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	go func() { ended <- fmt.Errorf("kube-scheduler ended: %w", scheduler.Run(ctx, config, sched)) }()
	return nil
}

func parse(sets cliflag.NamedFlagSets, flags []string) error {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	if err := all.Parse(flags); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	return nil
}
