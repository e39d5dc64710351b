// SPDX-License-Identifier: Apache-2.0

package money

import (
	"encoding/hex"

	"github.com/bourse-dev/bourse/internal/chain"
)

// watch sees everything that the operator sends, and says when something is signed anew that might still have landed as it was.
type watch struct {
	w       *world
	valid   map[chain.Hash]uint64 // the last height at which a transaction under the blockhash can land
	intents map[string][]flight   // by what they do
	seen    map[chain.Signature]bool
	doubled int
}

// flight is one signed transaction.
type flight struct {
	signature chain.Signature
	last      uint64
}

func newWatch(w *world) *watch {
	return &watch{w: w, valid: map[chain.Hash]uint64{}, intents: map[string][]flight{}, seen: map[chain.Signature]bool{}}
}

// intent names what a transaction does to which lease: the last call's data and its second account.
func intent(envelope *chain.Envelope) string {
	calls, err := envelope.Calls()
	if err != nil || len(calls) == 0 {
		return ""
	}
	last := calls[len(calls)-1]
	return hex.EncodeToString(last.Data[:min(len(last.Data), 9)]) + " on " + last.Accounts[1].String()
}

// sent takes note of signed bytes on their way, and says whether they were seen before.
func (o *watch) sent(raw []byte) bool {
	signature := signatureOf(raw)
	if o.seen[signature] {
		return true
	}
	envelope, err := chain.ReadEnvelope(raw)
	o.w.must(err)
	o.seen[signature] = true
	what := intent(envelope)
	for _, before := range o.intents[what] {
		o.w.count(expiredThere)
		if o.live(before) {
			o.doubled++
			o.w.note("two can land: %s", what)
			if !o.w.profile.has(lies()) && !o.w.profile.has(losses()) && o.w.rule.honest {
				o.w.wrong("signed anew while the first can still land: %s", what)
			}
		}
	}
	o.intents[what] = append(o.intents[what], flight{signature: signature, last: o.valid[envelope.Blockhash()]})
	return false
}

// live says whether a transaction is neither final nor too old to land.
func (o *watch) live(of flight) bool {
	height, err := o.w.fake.FinalizedHeight(o.w.ctx)
	o.w.must(err)
	status, err := o.w.fake.Status(o.w.ctx, of.signature)
	o.w.must(err)
	return status.Commitment != chain.Finalized && (status.Found || height.Block <= of.last)
}

// left is for how many blocks bytes can still land.
func (o *watch) left(raw []byte) uint64 {
	envelope, err := chain.ReadEnvelope(raw)
	o.w.must(err)
	last, tip := o.valid[envelope.Blockhash()], o.w.fake.TipHeight().Block
	return last - min(last, tip)
}
