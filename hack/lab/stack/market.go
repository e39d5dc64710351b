// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
)

const (
	marketFile = "hack/lab/market.yaml"
	poolFolder = "hack/lab/pools"
)

// applyMarket makes the market with the lab's addresses, its two members, and a GPUPool for each of the given pools.
func (l *Lab) applyMarket(ctx context.Context, pools []string) error {
	market, err := renderMarket(filepath.Join(l.Repo, marketFile), l.state)
	if err != nil {
		return err
	}
	if _, err := l.kubectl(ctx, Hub, market, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	for _, pool := range pools {
		path := filepath.Join(l.Repo, poolFolder, pool+".yaml")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			l.step("pool %s has nodes and no %s: make its GPUPool yourself", pool, filepath.Join(poolFolder, pool+".yaml"))
			continue
		}
		if _, err := l.kubectl(ctx, Hub, "", "apply", "--server-side", "-f", path); err != nil {
			return err
		}
	}
	l.step("the market is open; pools: %d", len(pools))
	return nil
}

// renderMarket fills the template in from the lab's state. A value that is not there is an error.
func renderMarket(path string, state State) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read market: %w", err)
	}
	parsed, err := template.New(filepath.Base(path)).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("parse market: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, state); err != nil {
		return "", fmt.Errorf("fill in market: %w", err)
	}
	return out.String(), nil
}

// pools are the hub's pools that have nodes.
func (o Options) pools(fake fakenode.File) []string {
	var names []string
	for _, pool := range fake.Pools {
		if pool.Cluster == Hub {
			names = append(names, pool.Name)
		}
	}
	if o.RealNodes > 0 {
		names = append(names, realPool)
	}
	return names
}
