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

// applyMarket makes the market with the lab's addresses and its members.
func (l *Lab) applyMarket(ctx context.Context) error {
	market, err := renderFile(filepath.Join(l.Repo, marketFile), l.state)
	if err != nil {
		return err
	}
	if _, err := l.kubectl(ctx, Hub, market, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	l.step("the market is open")
	return nil
}

// applyPools makes a GPUPool in the cluster for each of the given pools.
func (l *Lab) applyPools(ctx context.Context, cluster string, pools ...string) error {
	for _, pool := range pools {
		path := filepath.Join(l.Repo, poolFolder, pool+".yaml")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			l.step("pool %s has nodes and no %s: make its GPUPool yourself", pool, filepath.Join(poolFolder, pool+".yaml"))
			continue
		}
		if _, err := l.kubectl(ctx, cluster, "", "apply", "--server-side", "-f", path); err != nil {
			return err
		}
	}
	return nil
}

// renderFile fills a template in. A value that is not there is an error.
func renderFile(path string, values any) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read template: %w", err)
	}
	parsed, err := template.New(filepath.Base(path)).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("parse template: %w", err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return "", fmt.Errorf("fill in template: %w", err)
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
