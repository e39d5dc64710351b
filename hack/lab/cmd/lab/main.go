// SPDX-License-Identifier: Apache-2.0

// Command lab starts and ends everything that Bourse needs, on one machine: Kubernetes
// clusters, fake GPU nodes or real ones, KubeRay, a local Solana chain, and Bourse itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/stack"
)

const usage = `usage: lab COMMAND [flags]

  up                    start a lab in the background and wait until it is ready
  down                  end the lab and remove everything of it
  status                show the lab's parts; exit status 1 if one has ended
  kubeconfig [NAME]     print the path of a cluster's kubeconfig, or of a member's without one (default: hub)
  wallet NAME           make a keypair, or show its address
  fund NAME             give a wallet SOL and tokens
  restart manager [MEMBER]
                        kill a manager as a crash would, and start it again (default: the hub's)
  assets                print the folder with etcd, kube-apiserver and kubectl for envtest

Each command takes --dir (default .lab in the repository) and -h.
`

// command is one of lab's commands.
type command func(ctx context.Context, env environment, args []string) error

// environment is what every command gets from the process.
type environment struct {
	out, progress io.Writer
	now           func() time.Time
}

func main() {
	commands := map[string]command{
		"up": up, "down": down, "status": status, "kubeconfig": kubeconfig,
		"wallet": wallet, "fund": fund, "restart": restart, "assets": assets,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := environment{out: os.Stdout, progress: os.Stderr, now: time.Now}
	if err := commands[os.Args[1]](ctx, env, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// parse reads the flags that all commands share and the command's own, and returns the lab and the other arguments.
func parse(env environment, name string, args []string, define func(*flag.FlagSet)) (*stack.Lab, []string, error) {
	flags := flag.NewFlagSet("lab "+name, flag.ExitOnError)
	dir := flags.String("dir", "", "folder of the lab (default .lab in the repository)")
	repo := flags.String("repo", "", "root of the source tree (default: found from the working folder)")
	if define != nil {
		define(flags)
	}
	words, err := interspersed(flags, args)
	if err != nil {
		return nil, nil, err
	}
	if *repo == "" {
		// Commands that only use a running lab work everywhere.
		if *repo, err = findRepo(); err != nil && *dir == "" {
			return nil, nil, err
		}
	}
	if *dir == "" {
		*dir = filepath.Join(*repo, ".lab")
	}
	absolute, err := filepath.Abs(*dir)
	if err != nil {
		return nil, nil, fmt.Errorf("find folder: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, nil, fmt.Errorf("find cache: %w", err)
	}
	return &stack.Lab{
		Dir:   absolute,
		Repo:  *repo,
		Cache: build.Cache{Dir: filepath.Join(cache, "bourse"), Out: env.progress, Now: env.now},
		Out:   env.progress,
		Now:   env.now,
	}, words, nil
}

// interspersed parses flags that may stand before and after words, and returns the words.
func interspersed(flags *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	return words, nil
}

// findRepo returns the nearest folder upwards that holds the operator's module.
func findRepo() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working folder: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/bourse-dev/bourse\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside Bourse's source tree: use --repo or --dir")
		}
		dir = parent
	}
}
