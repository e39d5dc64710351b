// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/signer"
)

// hubJoinOptions are the flags of a member that reaches a hub which its wallet has joined.
type hubJoinOptions struct {
	url       string
	authority string
	agentKey  string
}

func (h *hubJoinOptions) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&h.url, "hub-join", "", "`URL` of the join server of a hub that your wallet has joined, instead of --hub-kubeconfig")
	fs.StringVar(&h.authority, "hub-join-ca", "", "`file` with the certificates that the join server is known by; default: the system's")
	fs.StringVar(&h.agentKey, "hub-join-agent-key", "", "key `file` that your wallet delegated to when it joined")
}

// check returns what is wrong with the flags.
func (h *hubJoinOptions) check(o options) error {
	switch {
	case h.url == "" && h.authority+h.agentKey != "":
		return errors.New("--hub-join-ca and --hub-join-agent-key go with --hub-join: give it too")
	case h.url == "":
		return nil
	case o.hubKubeconfig != "":
		return errors.New("--hub-join and --hub-kubeconfig are two ways to one hub: give one of them")
	case o.roles.Has(controllers.Market):
		return errors.New("--hub-join is for members: the role market runs in the hub itself")
	case h.agentKey == "":
		return errors.New("--hub-join-agent-key is required by --hub-join: name the key file that kubectl bourse join made")
	}
	if _, err := join.HubOf(h.url); err != nil {
		return fmt.Errorf("--hub-join: %w", err)
	}
	return nil
}

// keeper keeps the hub's token fresh, once it has one.
func (h *hubJoinOptions) keeper(mgr ctrl.Manager, o options, now func() time.Time) (*joinhttp.Keeper, error) {
	wallet, err := o.memberWallet()
	if err != nil {
		return nil, err
	}
	agent, err := signer.FromFile(h.agentKey)
	if err != nil {
		return nil, fmt.Errorf("--hub-join-agent-key: %w", err)
	}
	var authority []byte
	if h.authority != "" {
		if authority, err = os.ReadFile(h.authority); err != nil {
			return nil, fmt.Errorf("--hub-join-ca: %w", err)
		}
	}
	joined, err := joinhttp.NewClient(h.url, authority)
	if err != nil {
		return nil, fmt.Errorf("--hub-join: %w", err)
	}
	quorum, err := chain.NewQuorum(o.chainRPC, o.chainQuorum, chain.Options{Timeout: o.chainTimeout})
	if err != nil {
		return nil, fmt.Errorf("--chain-quorum: %w", err)
	}
	return joinhttp.NewKeeper(joinhttp.KeeperOptions{
		Client: joined, Wallet: wallet, Agent: agent, Network: quorum.GenesisHash, Log: mgr.GetLogger().WithName("hub-join"), Now: now,
	}), nil
}

// memberWallet is the one wallet of the manager's roles: it has one namespace in the hub, and so has the manager.
func (o options) memberWallet() (chain.Address, error) {
	var found chain.Address
	for _, wallet := range []walletOptions{o.supplierWallet, o.buyerWallet} {
		if !o.roles.Has(wallet.role) {
			continue
		}
		opened, err := wallet.open(o.signerTimeout)
		if err != nil {
			return chain.Address{}, err
		}
		if !found.IsZero() && found != opened.PublicKey() {
			return chain.Address{}, errors.New("--hub-join: the supplier's wallet and the buyer's are two members: run a manager for each")
		}
		found = opened.PublicKey()
	}
	return found, nil
}
