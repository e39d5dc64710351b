// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/bourse-dev/bourse/test/builders"
)

// anyCluster has everything that controllers ask a side for, and nothing in it.
type anyCluster struct{ someCluster }

func (*anyCluster) GetCache() cache.Cache                          { return nil }
func (*anyCluster) GetAPIReader() client.Reader                    { return nil }
func (*anyCluster) GetEventRecorder(string) recorder.EventRecorder { return nil }

// Where the market reads a buyer's jobs as they are applied, a copy of each would be a second job.
func TestJobsAreMirroredIntoAnotherClusterOnly(t *testing.T) {
	here, there := &anyCluster{}, &anyCluster{}
	cases := map[string]struct {
		hub  cluster.Cluster
		want []string
	}{
		"a market of one cluster": {here, []string{"voucher"}},
		"a hub of its own":        {there, []string{"voucher", "computejob"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := Options{Local: here, Hub: tc.hub, BuyerSigner: builders.Wallet("buyer")}
			list := o.buyer()
			got := make([]string, 0, len(list))
			for _, one := range list {
				got = append(got, one.kind)
				if want := map[string]cluster.Cluster{"voucher": tc.hub, "computejob": here}[one.kind]; one.side != want {
					t.Errorf("%s watches the wrong side", one.kind)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("controllers %v, want %v", got, tc.want)
			}
		})
	}
}
