// SPDX-License-Identifier: Apache-2.0

package join

import (
	"crypto/ed25519"
	"crypto/hmac"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// Lifetime is how long a challenge can be used. A person may have to find the button of a hardware wallet.
	Lifetime = 5 * time.Minute
	// MostPending is how many used challenges are remembered until they expire. Whoever lets claims in must let in fewer than so many
	// within a Lifetime, or good ones are refused as Busy.
	MostPending = 16_384
	keyLength   = 32
)

// GateOptions are what a gate is for.
type GateOptions struct {
	Hub     string  // as members reach it
	Network Network // the chain that the market settles on
	Random  io.Reader
	Now     func() time.Time
}

// Gate makes challenges for one hub and checks the claims that answer them. Its key is made with it and never leaves it: a claim is good at
// the gate that asked for it, until that ends, so that a claim which one replica or an earlier process has seen can be used at no other.
type Gate struct {
	o      GateOptions
	key    [keyLength]byte
	newest int

	mu   sync.Mutex
	last time.Time // the latest time that was seen, since a clock that is set back must not revive what was forgotten
	used map[[nonceLength]byte]time.Time
}

// NewGate makes a gate with a key of its own.
func NewGate(o GateOptions) (*Gate, error) {
	if !isHub(o.Hub) {
		return nil, Refuse(Malformed, "The hub must be a host such as join.example or join.example:9444")
	}
	g := &Gate{o: o, newest: Version, used: map[[nonceLength]byte]time.Time{}}
	if _, err := io.ReadFull(o.Random, g.key[:]); err != nil {
		return nil, fmt.Errorf("make key of challenges: %w", err)
	}
	return g, nil
}

// Hub is the hub that the gate is for.
func (g *Gate) Hub() string { return g.o.Hub }

// Network is the network that the gate is for.
func (g *Gate) Network() Network { return g.o.Network }

// Challenge makes a challenge for the wallet, and keeps nothing of it.
func (g *Gate) Challenge(wallet Key) (Challenge, error) {
	c := Challenge{Expires: g.now().Add(Lifetime).Truncate(time.Second).UTC()}
	if _, err := io.ReadFull(g.o.Random, c.Nonce[:]); err != nil {
		return Challenge{}, fmt.Errorf("make challenge: %w", err)
	}
	c.MAC = c.authenticate(g.key[:], g.o.Hub, wallet)
	return c, nil
}

// Check returns the claim if it is of this kind, for this hub and network, signed by the key that must sign it, in answer to a challenge of
// this gate that has neither expired nor been used. Otherwise it returns a Refusal. Whether a renewal's agent is the wallet's is not asked.
func (g *Gate) Check(kind Kind, message, signature []byte) (Claim, error) {
	claim, err := decode(message, g.newest)
	if err != nil {
		return Claim{}, err
	}
	now := g.now()
	switch expected := claim.Challenge.authenticate(g.key[:], g.o.Hub, claim.Wallet); {
	case claim.Kind != kind:
		return Claim{}, Refuse(Malformed, "The claim asks to %s, not to %s", claim.Kind, kind)
	case claim.Hub != g.o.Hub:
		return Claim{}, Refuse(OtherHub, "The claim is for the hub %s, and this is %s", claim.Hub, g.o.Hub)
	case claim.Network != g.o.Network:
		return Claim{}, Refuse(OtherNetwork, "The claim is for the network %x, and this hub settles on %x", claim.Network, g.o.Network)
	case !hmac.Equal(expected[:], claim.Challenge.MAC[:]):
		return Claim{}, Refuse(UnknownChallenge, "The challenge is not this server's, or not for this wallet; ask for another one")
	case !now.Before(claim.Challenge.Expires):
		return Claim{}, expired(claim.Challenge)
	case !verified(&claim, message, signature):
		return Claim{}, Refuse(WrongKey, "The signature is not that of the key %x over this claim", claim.Signer())
	}
	if err := checkDelegation(&claim, now); err != nil {
		return Claim{}, err
	}
	if err := g.use(claim.Challenge); err != nil {
		return Claim{}, err
	}
	return claim, nil
}

func expired(c Challenge) error {
	return Refuse(Expired, "The challenge ended at %s; ask for another one", stamp(c.Expires))
}

func verified(claim *Claim, message, signature []byte) bool {
	key := claim.Signer()
	return ed25519.Verify(key[:], message, signature)
}

// checkDelegation refuses a delegation that has ended, or that would outlast what anybody remembers.
func checkDelegation(claim *Claim, now time.Time) error {
	switch {
	case claim.Kind != Join:
		return nil
	case !now.Before(claim.Until):
		return Refuse(Expired, "The delegation to the agent ended at %s", stamp(claim.Until))
	case claim.Until.After(now.Add(MaxDelegation)):
		return Refuse(Malformed, "The delegation to the agent must end within %d days", MaxDelegation/(24*time.Hour))
	}
	return nil
}

// use marks the challenge as used. What has expired is forgotten only when room is needed, and what has not never is. Another claim may have
// moved the time on since this one was looked at, and what it forgot must not pass for new.
func (g *Gate) use(c Challenge) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.last.Before(c.Expires) {
		return expired(c)
	}
	if _, seen := g.used[c.Nonce]; seen {
		return Refuse(Replayed, "The challenge was used before; ask for another one")
	}
	if len(g.used) >= MostPending {
		for nonce, expires := range g.used {
			if !g.last.Before(expires) {
				delete(g.used, nonce)
			}
		}
	}
	if len(g.used) >= MostPending {
		return Refuse(Busy, "Too many claims are under way; come back in a few minutes")
	}
	g.used[c.Nonce] = c.Expires
	return nil
}

// now is the time, which never goes back.
func (g *Gate) now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.o.Now(); now.After(g.last) {
		g.last = now
	}
	return g.last
}
