// SPDX-License-Identifier: Apache-2.0

package signertest

import (
	"context"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Refusing is a wallet that a test can stop.
type Refusing struct {
	signer.Signer

	Reason signer.Reason // why it signs nothing; empty: it signs
}

// Sign signs, or refuses.
func (r *Refusing) Sign(ctx context.Context, message []byte) (chain.Signature, error) {
	if r.Reason != "" {
		return chain.Signature{}, &signer.Refusal{Reason: r.Reason, Detail: "The wallet does not sign; a person can change that"}
	}
	return r.Signer.Sign(ctx, message)
}
