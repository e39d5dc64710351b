// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"

	"github.com/bourse-dev/bourse/controllers"
)

// authorityRole names the flags of the market's authority. It is no role of its own: the role market signs slashes with it.
const authorityRole controllers.Role = "authority"

// authorityOptions are the flags of the wallet that controls the market's configuration on chain. Without a key nobody is slashed.
type authorityOptions struct{ walletOptions }

func (a *authorityOptions) addFlags(fs *flag.FlagSet) { a.walletOptions.addFlags(fs, authorityRole) }

// given says whether any of the wallet's flags is set.
func (a *authorityOptions) given() bool {
	return a.keypair+a.url+a.address+a.authority+a.certificate+a.key+a.token != "" || len(a.dailyCaps) > 0
}

// check returns what is wrong with the flags.
func (a *authorityOptions) check(roles controllers.Roles) error {
	switch {
	case !a.given():
		return nil
	case !roles.Has(controllers.Market):
		return errors.New("the flags --authority-… are for the role market: leave them out, or add market to --roles")
	case a.keypair+a.url == "":
		return errors.New("--authority-keypair or --authority-signer-url must say where the authority's key is: give one, or no flag --authority-… at all")
	default:
		return a.walletOptions.check()
	}
}
