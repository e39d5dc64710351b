// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/stack"
)

func up(ctx context.Context, env environment, args []string) error {
	var options stack.Options
	var clusters string
	var noFakeNodes bool
	lab, _, err := parse(env, "up", args, func(flags *flag.FlagSet) {
		flags.StringVar(&clusters, "clusters", stack.Hub, "comma-separated names of the clusters")
		flags.StringVar(&options.Mode, "mode", "single", "control planes: single process each, or procs: one process per component")
		flags.StringVar(&options.FakeNodes, "fake-nodes", "", "file that describes the fake GPU nodes (default "+stack.DefaultFakeNodes+")")
		flags.BoolVar(&noFakeNodes, "no-fake-nodes", false, "no fake GPU nodes")
		flags.BoolVar(&options.KubeRay, "kuberay", true, "KubeRay in every cluster")
		flags.BoolVar(&options.Chain, "chain", true, "a local Solana chain with the program, test tokens and funded wallets")
		flags.IntVar(&options.SlotMS, "slot-ms", 100, "length of the chain's slots in milliseconds (a real one's: 400)")
		flags.IntVar(&options.RealNodes, "real-nodes", 0, "how many real nodes the hub has (root, Linux)")
		flags.BoolVar(&options.Chart, "chart", true, "Bourse itself: the chart, a market and a running manager")
		flags.BoolVar(&options.Federated, "federated", false, "each pool of fake nodes is a supplier with a cluster and a manager of its own, and so is the buyer")
		flags.StringVar(&options.Isolation, "isolation", stack.IsolationAuto, "how a federation's clusters are kept apart: namespaces (root), loopback, or auto: the first where it works")
	})
	if err != nil {
		return err
	}
	switch {
	case noFakeNodes:
		options.FakeNodes = ""
	case options.FakeNodes == "":
		options.FakeNodes = filepath.Join(lab.Repo, stack.DefaultFakeNodes)
	}
	options.Clusters = strings.Split(clusters, ",")
	return lab.Up(ctx, options)
}

func down(ctx context.Context, env environment, args []string) error {
	lab, _, err := parse(env, "down", args, nil)
	if err != nil {
		return err
	}
	err = lab.Down(ctx)
	if errors.Is(err, stack.ErrNoLab) {
		fmt.Fprintln(env.progress, err)
		return nil
	}
	return err
}

func status(ctx context.Context, env environment, args []string) error {
	lab, _, err := parse(env, "status", args, nil)
	if err != nil {
		return err
	}
	running, err := lab.Status(ctx, env.out)
	if err == nil && !running {
		err = errors.New("not everything runs")
	}
	return err
}

func kubeconfig(_ context.Context, env environment, args []string) error {
	lab, words, err := parse(env, "kubeconfig", args, nil)
	if err != nil {
		return err
	}
	name := stack.Hub
	if len(words) > 0 {
		name = words[0]
	}
	state, err := stack.Read(lab.Dir)
	if err != nil {
		return err
	}
	path := state.Members[name]
	if cluster, ok := state.Clusters[name]; ok {
		path = cluster.Kubeconfig
	}
	if path == "" {
		return fmt.Errorf("no cluster %[1]s in this lab, and no member %[1]s whose cluster is the hub", name)
	}
	fmt.Fprintln(env.out, path)
	return nil
}

func assets(ctx context.Context, env environment, args []string) error {
	lab, _, err := parse(env, "assets", args, nil)
	if err != nil {
		return err
	}
	dir, err := lab.Cache.Assets(ctx, lab.Repo)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.out, dir)
	return nil
}

func wallet(_ context.Context, env environment, args []string) error {
	lab, words, err := parse(env, "wallet", args, nil)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("name one wallet")
	}
	made, err := lab.Wallet(words[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(env.out, made.Address, made.Keypair)
	return nil
}

func fund(ctx context.Context, env environment, args []string) error {
	var sol uint64
	var tokens list
	lab, words, err := parse(env, "fund", args, func(flags *flag.FlagSet) {
		flags.Uint64Var(&sol, "sol", 0, "whole SOL")
		flags.Var(&tokens, "token", "SYMBOL=AMOUNT, for example IO=1000.5; may be repeated")
	})
	if err != nil {
		return err
	}
	if len(words) != 1 || sol == 0 && len(tokens) == 0 {
		return errors.New("name one wallet and what it gets: lab fund NAME --sol 10 --token IO=1000")
	}
	return lab.Fund(ctx, words[0], sol, tokens)
}

// list is a flag that may be repeated.
type list []string

// String joins what was given.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds one more.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func restart(ctx context.Context, env environment, args []string) error {
	var noWait bool
	lab, words, err := parse(env, "restart", args, func(flags *flag.FlagSet) {
		flags.BoolVar(&noWait, "no-wait", false, "do not wait until it is ready, as it is not while its hub is away")
	})
	if err != nil {
		return err
	}
	if len(words) == 0 || len(words) > 2 || words[0] != "manager" {
		return errors.New("only managers can be restarted: lab restart manager [MEMBER]")
	}
	return lab.RestartManager(ctx, strings.Join(words[1:], ""), !noWait)
}
