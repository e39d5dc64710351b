// SPDX-License-Identifier: Apache-2.0

// Package signer keeps wallet keys, in a file or behind a remote signer: it says whose wallet it is and signs bytes, and the key itself
// never leaves it in any form. A Policy before a key signs only what it can read, within caps, and while nobody has paused it.
package signer

import (
	"context"

	"github.com/bourse-dev/bourse/internal/chain"
)

// Signer signs for one wallet. Sign returns an error when the key cannot be used now, and a *Refusal when only people can change that;
// repeating the call with the same message is harmless and yields the same signature.
type Signer interface {
	PublicKey() chain.Address
	Sign(ctx context.Context, message []byte) (chain.Signature, error)
}
