// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/buyback"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/swap"
	"github.com/bourse-dev/bourse/internal/wallet"
)

// maxKeyText is far above what an API key takes.
const maxKeyText = 4096

// treasuryRole names the treasury's flags. It is no role of its own: the role market signs for it.
const treasuryRole controllers.Role = "treasury"

// treasuryOptions are the flags of the role market that buys fees back. Without a key it only says which fees wait.
type treasuryOptions struct {
	wallet  walletOptions
	swapKey string
}

func (t *treasuryOptions) addFlags(fs *flag.FlagSet) {
	t.wallet.addKeyFlags(fs, treasuryRole)
	fs.StringVar(&t.swapKey, "swap-api-key-file", "", "`file` with the API key of the swap API that a market's spec.buyBack names")
}

// given says whether any of the wallet's flags is set.
func (t *treasuryOptions) given() bool {
	w := &t.wallet
	return w.keypair+w.url+w.address+w.authority+w.certificate+w.key+w.token != ""
}

// check returns what is wrong with the flags.
func (t *treasuryOptions) check(roles controllers.Roles) error {
	switch {
	case !roles.Has(controllers.Market) && (t.given() || t.swapKey != ""):
		return errors.New("--swap-api-key-file and the flags --treasury-… are for the role market: leave them out, or add market to --roles")
	case t.given() && t.wallet.keypair+t.wallet.url == "":
		return errors.New("--treasury-keypair or --treasury-signer-url must say where the treasury's key is: give one, or no flag --treasury-… at all")
	case t.given():
		return t.wallet.check()
	default:
		return nil
	}
}

// open adds what the flags name to the controllers' options. The treasury signs buy-backs only, and none while the wallets are paused.
func (t *treasuryOptions) open(setup *controllers.Options, o options, local client.Client) error {
	key, err := t.readSwapKey()
	if err != nil {
		return fmt.Errorf("--swap-api-key-file: %w", err)
	}
	setup.Swaps = func(endpoint string) swap.Port {
		return swap.NewJupiter(swap.Options{Endpoint: endpoint, Key: key, Transport: http.DefaultTransport})
	}
	if !t.given() {
		return nil
	}
	bare, err := t.wallet.open(o.signerTimeout)
	if err != nil {
		return err
	}
	namespace, err := o.ownNamespace()
	if err != nil {
		return err
	}
	setup.TreasurySigner = signer.NewPolicy(bare, signer.PolicyOptions{
		Read: []signer.Reader{readBuyBack}, Switch: &wallet.Switch{Client: local, Namespace: namespace}, Now: setup.Now,
	})
	return nil
}

// readBuyBack says what a buy-back would do, for the treasury's policy.
func readBuyBack(message []byte) (signer.Intent, error) {
	terms, err := buyback.ReadMessage(message)
	if err != nil {
		return signer.Intent{}, err
	}
	return signer.Intent{What: "buy back " + terms.Epoch, Wallet: terms.Treasury}, nil
}

// readSwapKey reads the API key. Its errors never quote the content.
func (t *treasuryOptions) readSwapKey() (string, error) {
	if t.swapKey == "" {
		return "", nil
	}
	file, err := os.Open(t.swapKey)
	if err != nil {
		return "", fmt.Errorf("open key file: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxKeyText+1))
	if err != nil {
		return "", fmt.Errorf("read key file: %w", err)
	}
	key := strings.TrimSpace(string(content))
	if key == "" || len(content) > maxKeyText || strings.ContainsAny(key, "\r\n\x00") {
		return "", fmt.Errorf("%s does not hold one line with a key", t.swapKey)
	}
	return key, nil
}
