// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
)

// failing makes one method fail, or all of them when it is empty.
func failing(method string, fault chaintest.Fault) func(string) chaintest.Fault {
	return func(called string) chaintest.Fault {
		if method == "" || called == method {
			return fault
		}
		return chaintest.Fault{}
	}
}

func refuseAll(chain.Call, map[chain.Address]chain.Account) *chain.Failure {
	return &chain.Failure{Detail: "Custom", Code: 1}
}

// racing is a hub where somebody touches every voucher just before our own write.
type racing struct{ client.Client }

func (c racing) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	touched := &boursev1.Voucher{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), touched); err != nil {
		return err
	}
	touched.Labels = map[string]string{"touched": "yes"}
	if err := c.Update(ctx, touched); err != nil {
		return err
	}
	return c.Client.Patch(ctx, obj, patch, opts...)
}
