// SPDX-License-Identifier: Apache-2.0

// Package join is the protocol by which a wallet becomes a member of a market without anybody's leave: a challenge that the hub keeps no
// record of, a claim that the wallet signs over it, and renewals that the agent signs to which the wallet delegated them. It decides
// whether a claim is good; it knows neither HTTP nor Kubernetes, and holds no key but the one that its challenges are made with.
package join

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Version is the newest version of the protocol. The one before it is accepted too, so that hubs and members need not be upgraded at once.
const Version = 1

// Bounds of what a claim may say.
const (
	// MaxDelegation is the longest time for which a wallet can delegate to an agent at once.
	MaxDelegation = 90 * 24 * time.Hour
	// MaxName is how many bytes a display name may have.
	MaxName = 64
	maxHub  = 128
	maxUID  = 64
)

// Key is an Ed25519 public key: a wallet's, or an agent's.
type Key [ed25519.PublicKeySize]byte

// Network is the hash of a chain's first block, which tells networks apart.
type Network [32]byte

// Kind is what a claim asks for.
type Kind string

// The kinds of claims.
const (
	// Join asks for membership. The wallet signs it.
	Join Kind = "join"
	// Renew asks for another token. The agent signs it.
	Renew Kind = "renew"
	// Leave ends a membership. The wallet signs it.
	Leave Kind = "leave"
)

// Mode is how a member leaves.
type Mode string

// The modes.
const (
	// WhenSettled lets the leases that run go on to their end.
	WhenSettled Mode = "when-settled"
	// AtOnce ends them.
	AtOnce Mode = "at-once"
	// Look changes nothing, and is told what is still open.
	Look Mode = "look"
)

// Role is what a member's cluster means to do.
type Role string

// The roles.
const (
	Supplier Role = "supplier"
	Buyer    Role = "buyer"
)

// Claim is what is signed.
type Claim struct {
	Version int
	Kind    Kind
	// Hub is the host, with a port unless it is 443, by which the member itself reaches the hub's join server. A server that passes on
	// another one's challenge therefore gets a signature that is good for itself alone.
	Hub       string
	Network   Network
	Wallet    Key
	Agent     Key // a Leave has none
	Challenge Challenge

	// What follows is said by a Join alone.

	// Cluster is the UID of the namespace kube-system of the member's cluster; empty if it has none.
	Cluster string
	// Roles are in the order of the alphabet, each once.
	Roles []Role
	// Name is how the member wishes to be called; it may be empty.
	Name string
	// Until is when the delegation to the agent ends, in whole seconds.
	Until time.Time

	// Mode is said by a Leave alone.
	Mode Mode
}

// Departure is how far a member that leaves has come.
type Departure struct {
	Namespace string
	Since     time.Time // when it was asked for; zero if it was not, or was taken back
	Known     bool      // the market has counted what is open
	Supplied  int32     // leases of the member's GPUs that are not settled
	Bought    int32     // leases of its jobs that are not settled
	Until     time.Time // when the last of them is given up at the latest; zero if there is none
	Suspended bool      // the Member stays when everything else is gone
}

// Access is what a member gets: where the hub's API is, how it is known, and a token that opens the member's namespace for a while.
type Access struct {
	Namespace string
	Server    string // a URL
	CA        []byte // PEM; empty: the system's certificates
	Token     string
	Expires   time.Time
}

// String names the namespace, not the token.
func (a Access) String() string { return "access to " + a.Namespace }

// GoString names the namespace, not the token.
func (a Access) GoString() string { return a.String() }

// MarshalJSON names the namespace, not the token: logs are JSON.
func (a Access) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(a.String())), nil }

// Signer is the key that must have signed the claim.
func (c *Claim) Signer() Key {
	if c.Kind == Renew {
		return c.Agent
	}
	return c.Wallet
}

// HubOf is the Hub of claims for the join server at the URL. It returns a Refusal for a URL that is not one of a join server.
func HubOf(text string) (string, error) {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "https" || address.User != nil || address.RawQuery != "" || address.Fragment != "" ||
		strings.Trim(address.Path, "/") != "" {
		return "", Refuse(Malformed, "The hub's URL must be like https://join.example or https://join.example:9444, and no more")
	}
	hub := strings.TrimSuffix(strings.ToLower(address.Host), ":443")
	if !isHub(hub) {
		return "", Refuse(Malformed, "The hub's URL must name a host of at most %d letters, digits, dots and dashes", maxHub)
	}
	return hub, nil
}

// CheckServer returns a Refusal for the URL of an API server to which no token may be sent.
func CheckServer(text string) error {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" {
		return Refuse(Malformed, "The API server's URL must be like https://hub.example:6443, since tokens are sent there")
	}
	return nil
}

// Namespace is the hub's namespace of a wallet's member. It follows from the wallet alone, so that a member that joins again finds what it
// had, and nobody can take another's.
func Namespace(wallet Key) string {
	const domain, length = "bourse.dev/member-namespace/v1", 16
	sum := sha256.Sum256(append([]byte(domain), wallet[:]...))
	return "member-" + hex.EncodeToString(sum[:length])
}
