// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/wallet"
)

// podNamespace is where a pod reads the namespace that it runs in.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// walletOptions are the flags of one role's wallet: where its key is, and what it may spend.
type walletOptions struct {
	role                               controllers.Role
	keypair                            string
	url, address                       string
	authority, certificate, key, token string
	dailyCaps                          []string
}

func (w *walletOptions) addFlags(fs *flag.FlagSet, role controllers.Role) {
	w.addKeyFlags(fs, role)
	fs.Func(string(role)+"-daily-cap", "the most that the wallet spends in a day (UTC): SOL=`AMOUNT`, or MINT:DECIMALS=AMOUNT; give it several times, or a list",
		func(list string) error {
			w.dailyCaps = append(w.dailyCaps, strings.Split(list, ",")...)
			_, err := signer.ParseLimits(w.dailyCaps)
			return err
		})
}

// addKeyFlags adds the flags that say where the key is.
func (w *walletOptions) addKeyFlags(fs *flag.FlagSet, role controllers.Role) {
	w.role = role
	name := func(rest string) string { return string(role) + rest }
	fs.StringVar(&w.keypair, name("-keypair"), "", "key `file` of the "+string(role)+"'s wallet, as solana-keygen writes it")
	fs.StringVar(&w.url, name("-signer-url"), "", "`URL` of a remote signer that holds the "+string(role)+"'s key instead of a key file")
	fs.StringVar(&w.address, name("-wallet"), "", "`address` of the wallet that the remote signer signs for")
	fs.StringVar(&w.authority, name("-signer-ca"), "", "`file` with the certificates that the remote signer is trusted by; default: the system's")
	fs.StringVar(&w.certificate, name("-signer-cert"), "", "`file` with the client certificate for the remote signer")
	fs.StringVar(&w.key, name("-signer-key"), "", "`file` with that certificate's key")
	fs.StringVar(&w.token, name("-signer-token"), "", "`file` with a bearer token for the remote signer")
}

// check returns what is wrong with the flags of a role that is played.
func (w *walletOptions) check() error {
	switch {
	case w.keypair == "" && w.url == "":
		return fmt.Errorf("--%[1]s-keypair is required by the role %[1]s: give the path of a key file, or --%[1]s-signer-url, or leave %[1]s out of --roles", w.role)
	case w.keypair != "" && w.url != "":
		return fmt.Errorf("--%[1]s-keypair and --%[1]s-signer-url are two places for one key: give one of them", w.role)
	case w.url == "" && w.address+w.authority+w.certificate+w.key+w.token != "":
		return fmt.Errorf("--%[1]s-wallet and the flags --%[1]s-signer-… go with --%[1]s-signer-url: give it too", w.role)
	case w.url != "" && w.address == "":
		return fmt.Errorf("--%[1]s-wallet is required by --%[1]s-signer-url: give the wallet's address", w.role)
	}
	return nil
}

// open returns what signs for the wallet, without any rules.
func (w *walletOptions) open(timeout time.Duration) (signer.Signer, error) {
	if w.url == "" {
		pair, err := signer.FromFile(w.keypair)
		if err != nil {
			return nil, fmt.Errorf("--%s-keypair: %w", w.role, err)
		}
		return pair, nil
	}
	address, err := chain.ParseAddress(w.address)
	if err != nil {
		return nil, fmt.Errorf("--%s-wallet: %w", w.role, err)
	}
	far, err := signer.NewRemote(signer.RemoteOptions{
		URL: w.url, Wallet: address, Timeout: timeout, CA: w.authority, Certificate: w.certificate, Key: w.key, Token: w.token,
	})
	if err != nil {
		return nil, fmt.Errorf("--%s-signer-…: %w", w.role, err)
	}
	return far, nil
}

// policed returns the wallet behind its rules. Its state is in this cluster, where no hub can change it.
func (w *walletOptions) policed(o options, local client.Client, now func() time.Time) (signer.Signer, error) {
	bare, err := w.open(o.signerTimeout)
	if err != nil {
		return nil, err
	}
	limits, err := signer.ParseLimits(w.dailyCaps)
	if err != nil {
		return nil, fmt.Errorf("--%s-daily-cap: %w", w.role, err)
	}
	namespace, err := o.ownNamespace()
	if err != nil {
		return nil, err
	}
	return signer.NewPolicy(bare, signer.PolicyOptions{
		Read:   []signer.Reader{signer.Leases(o.leasePrograms...), signer.Stakes(o.leasePrograms...)},
		Switch: &wallet.Switch{Client: local, Namespace: namespace},
		Limits: limits, Flag: string(w.role) + "-daily-cap",
		Store: &wallet.Store{Client: local, Namespace: namespace, Role: string(w.role)},
		Now:   now,
	}), nil
}

// ownNamespace is where the wallets' state is: as the flag says, else the pod's own, else the one that kubectl uses too.
func (o options) ownNamespace() (string, error) {
	if o.stateNamespace != "" {
		return o.stateNamespace, nil
	}
	content, err := os.ReadFile(podNamespace)
	if errors.Is(err, os.ErrNotExist) {
		return "default", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the pod's namespace: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}
