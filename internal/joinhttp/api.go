// SPDX-License-Identifier: Apache-2.0

// Package joinhttp carries the join protocol over HTTPS: the server of a hub, the client of a member, and the keeper of a member's token.
// It decides how much strangers may ask; which claims are good is decided by package join, and what a member gets by its Admitter.
package joinhttp

import (
	"time"

	"github.com/bourse-dev/bourse/internal/join"
)

// The paths of a join server, which begin with the version of what they take.
const (
	version       = "/v1/"
	challengePath = version + "challenge"
	joinPath      = version + "join"
	renewPath     = version + "renew"
	leavePath     = version + "leave"
)

// The bodies of requests and answers, which docs/federation.md describes.
type (
	challengeRequest struct {
		Wallet string `json:"wallet"` // base58
	}
	challengeAnswer struct {
		Hub       string `json:"hub"`
		Network   string `json:"network"` // base58
		Challenge string `json:"challenge"`
	}
	claimRequest struct {
		Message   []byte `json:"message"` // base64
		Signature []byte `json:"signature"`
	}
	accessAnswer struct {
		Namespace string    `json:"namespace"`
		Server    string    `json:"server"`
		CA        []byte    `json:"ca,omitempty"`
		Token     string    `json:"token"`
		Expires   time.Time `json:"expires"`
	}
	departureAnswer struct {
		Namespace string    `json:"namespace"`
		Since     time.Time `json:"since,omitzero"`
		Known     bool      `json:"known"`
		Supplied  int32     `json:"supplied"`
		Bought    int32     `json:"bought"`
		Until     time.Time `json:"until,omitzero"`
		Suspended bool      `json:"suspended,omitempty"`
	}
	refusalAnswer struct {
		Reason  join.Reason `json:"reason"`
		Message string      `json:"message"`
	}
)

// pathOf is where a claim is sent.
func pathOf(kind join.Kind) string {
	if kind == join.Renew {
		return renewPath
	}
	return joinPath
}
