// SPDX-License-Identifier: Apache-2.0

package join

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// check returns a Refusal for what no claim may say, whoever signs it.
func (c *Claim) check() error {
	switch {
	case c.Kind != Join && c.Kind != Renew && c.Kind != Leave:
		return Refuse(Malformed, "The claim asks for nothing that is known")
	case !isHub(c.Hub):
		return Refuse(Malformed, "The hub must be a host such as join.example or join.example:9444")
	case !whole(c.Challenge.Expires):
		return Refuse(Malformed, "The challenge must end at a whole second of this era")
	case c.Kind != Join:
		return c.checkBare()
	case c.Mode != "":
		return Refuse(Malformed, "Who joins does not leave, so a join names no mode")
	case !isUID(c.Cluster):
		return Refuse(Malformed, "The cluster must be the UID of its namespace kube-system")
	case !areRoles(c.Roles):
		return Refuse(Malformed, "The roles must be %s, %s or both", Buyer, Supplier)
	case !isName(c.Name):
		return Refuse(Malformed, "The name must be at most %d bytes of text on one line", MaxName)
	case !whole(c.Until):
		return Refuse(Malformed, "The delegation must end at a whole second of this era")
	}
	return nil
}

// checkBare refuses to lose what a renewal or a leave does not say.
func (c *Claim) checkBare() error {
	if c.Cluster != "" || len(c.Roles) > 0 || c.Name != "" || !c.Until.IsZero() {
		return Refuse(Malformed, "Only a join names a cluster, roles, a name or an end")
	}
	if c.Kind == Renew {
		if c.Mode != "" {
			return Refuse(Malformed, "Who renews does not leave, so a renewal names no mode")
		}
		return nil
	}
	if c.Agent != (Key{}) {
		return Refuse(Malformed, "The wallet itself leaves, so a leave names no agent")
	}
	switch c.Mode {
	case WhenSettled, AtOnce, Look:
		return nil
	default:
		return Refuse(Malformed, "The mode must be %s, %s or %s", WhenSettled, AtOnce, Look)
	}
}

// isHub says whether the text is a host, with or without a port, as Hub returns it.
func isHub(text string) bool {
	return text != "" && len(text) <= maxHub && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:[]", r)
	})
}

func isUID(text string) bool {
	return len(text) <= maxUID && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func areRoles(roles []Role) bool {
	for i, role := range roles {
		if role != Buyer && role != Supplier || i > 0 && roles[i-1] >= role {
			return false
		}
	}
	return len(roles) > 0
}

func isName(text string) bool {
	hidden := func(r rune) bool { return !unicode.IsGraphic(r) }
	return len(text) <= MaxName && utf8.ValidString(text) && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, hidden)
}

// whole says whether the time is written and read back without loss: whole seconds, and a year of four digits.
func whole(at time.Time) bool {
	seconds := at.Unix()
	return at.Nanosecond() == 0 && seconds > 0 && seconds < 253_402_300_800
}
