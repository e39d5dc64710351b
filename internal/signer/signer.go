// SPDX-License-Identifier: Apache-2.0

// Package signer keeps wallet keys: it says whose wallet it is and signs bytes, and the key itself never leaves it in any form.
// It does not know what it signs; whoever hands it a message has built that message.
package signer

import (
	"context"

	"github.com/bourse-dev/bourse/internal/chain"
)

// Signer signs for one wallet. Sign returns an error when the key cannot be used now; repeating the call with the same message
// is harmless and yields the same signature.
type Signer interface {
	PublicKey() chain.Address
	Sign(ctx context.Context, message []byte) (chain.Signature, error)
}
