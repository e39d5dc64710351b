// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/process"
)

// clusterWithin is how long a control plane may take to become usable.
const clusterWithin = 4 * time.Minute

func (l *Lab) startCluster(ctx context.Context, name string, o Options) error {
	record, err := l.table().Start(process.Spec{
		Name: "cluster-" + name,
		Args: l.controlPlane(name, o),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterWithin)
	defer cancel()
	var server string
	err = record.Await(ctx, func() (bool, error) {
		data, err := os.ReadFile(l.path("clusters", name, "ready"))
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		server = strings.TrimSpace(string(data))
		return server != "", err
	})
	if err != nil {
		return err
	}
	l.step("cluster %s is ready at %s", name, server)
	return l.note(func(s *State) {
		s.Clusters[name] = Cluster{Kubeconfig: l.path("clusters", name, "admin.kubeconfig"), Server: server}
	})
}
