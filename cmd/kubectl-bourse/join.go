// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/signer"
)

// delegateFor is a day less than the longest time, since clocks differ.
const delegateFor = join.MaxDelegation - 24*time.Hour

// hubAddress is where a hub's join server is.
type hubAddress struct{ hub, authority string }

func (h *hubAddress) add(flags *pflag.FlagSet) {
	flags.StringVar(&h.hub, "hub", "", "URL of the hub's join server, such as https://join.example")
	flags.StringVar(&h.authority, "hub-ca", "", "file with the certificates that it is known by (default the system's)")
}

func (h *hubAddress) client() (*joinhttp.Client, error) {
	var authority []byte
	if h.authority != "" {
		var err error
		if authority, err = os.ReadFile(h.authority); err != nil {
			return nil, fmt.Errorf("--hub-ca: %w", err)
		}
	}
	hub, err := joinhttp.NewClient(h.hub, authority)
	if err != nil {
		return nil, fmt.Errorf("--hub: %w", err)
	}
	return hub, nil
}

// joinCommand joins a hub.
type joinCommand struct {
	hubAddress

	wallet, agent   string
	name            string
	roles           []string
	cluster         string
	network         string
	delegationLasts time.Duration
	out             string

	now func() time.Time
}

func newJoin(now func() time.Time) *cobra.Command {
	c := &joinCommand{now: now}
	command := &cobra.Command{
		Use:   "join --hub URL --wallet FILE --out FILE",
		Short: "Join a market's hub with your wallet, and get access to your namespace in it",
		Long: `Join a market's hub with your wallet, and get access to your namespace in it. Nobody has to let you in.

Your wallet signs one message, which names the hub and cannot be a transaction. It delegates to an agent's key, which is made if there is
none yet and renews your access from then on (bourse-manager --hub-join), so that the wallet can stay where it is. To join again is
harmless, and changes the agent.`,
		Args: cobra.NoArgs,
		RunE: c.execute,
	}
	flags := command.Flags()
	c.add(flags)
	flags.StringVar(&c.wallet, "wallet", "", "key file of your wallet, as solana-keygen writes it")
	flags.StringVar(&c.agent, "agent-key", "agent.json", "key file of the agent that renews your access; it is made if there is none")
	flags.StringVar(&c.name, "display-name", "", "how you wish to be called")
	flags.StringSliceVar(&c.roles, "role", []string{string(join.Supplier), string(join.Buyer)}, "what you join for: supplier, buyer or both")
	flags.StringVar(&c.cluster, "cluster-uid", "", "UID of the namespace kube-system of your cluster, if you have one")
	flags.StringVar(&c.network, "genesis-hash", "", "hash of the first block of the only network that you join for (default the hub's)")
	flags.DurationVar(&c.delegationLasts, "delegate-for", delegateFor, "how long the agent may renew your access")
	flags.StringVar(&c.out, "out", "", "file that the kubeconfig is written to; one that exists is replaced")
	for _, name := range []string{"hub", "wallet", "out"} {
		if err := command.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return command
}

func (c *joinCommand) execute(command *cobra.Command, _ []string) error {
	return c.run(command.Context(), command.OutOrStdout())
}

// run joins, and says what each step took.
func (c *joinCommand) run(ctx context.Context, stdout io.Writer) error {
	wallet, err := signer.FromFile(c.wallet)
	if err != nil {
		return fmt.Errorf("--wallet: %w", err)
	}
	agent, err := openAgent(c.agent)
	if err != nil {
		return fmt.Errorf("--agent-key: %w", err)
	}
	hub, err := c.client()
	if err != nil {
		return err
	}
	began := c.now()
	step := func(what string) {
		fmt.Fprintf(stdout, "%6.2f s  %s\n", c.now().Sub(began).Seconds(), what)
		began = c.now()
	}
	challenge, network, err := hub.Challenge(ctx, wallet.PublicKey())
	if err != nil {
		return fmt.Errorf("ask %s for a challenge: %w", hub.Hub(), err)
	}
	if c.network != "" && c.network != network.String() {
		return fmt.Errorf("--genesis-hash: the hub settles on another network, %s; nothing was signed", network)
	}
	step("got a challenge of " + hub.Hub() + ", good until " + challenge.Expires.Format(time.TimeOnly) + " UTC")
	message, err := c.claim(hub.Hub(), wallet, agent, challenge, network)
	if err != nil {
		return err
	}
	signature, err := wallet.Sign(ctx, message)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	step("signed with the wallet " + wallet.PublicKey().String())
	access, err := hub.Send(ctx, join.Join, message, signature)
	if err != nil {
		return fmt.Errorf("join %s: %w", hub.Hub(), err)
	}
	step("joined: namespace " + access.Namespace + " in " + access.Server)
	if err := writeKubeconfig(c.out, hub.Hub(), access); err != nil {
		return err
	}
	step("wrote " + c.out + ", good until " + access.Expires.Format(time.RFC3339))
	fmt.Fprintf(stdout, "\nSee who you are:  kubectl --kubeconfig %s get members\n", c.out)
	authority := ""
	if c.authority != "" {
		authority = " --hub-join-ca " + c.authority
	}
	fmt.Fprintf(stdout, "Keep it fresh:    bourse-manager --hub-join %s%s --hub-join-agent-key %s …\n", c.hub, authority, c.agent)
	return nil
}

// openAgent reads the agent's key, or makes one.
func openAgent(path string) (*signer.Keypair, error) {
	agent, err := signer.FromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return signer.NewFile(path)
	}
	return agent, err
}

// claim is what the wallet signs.
func (c *joinCommand) claim(hub string, wallet, agent signer.Signer, challenge join.Challenge, network chain.Hash) ([]byte, error) {
	claim := join.Claim{
		Version: join.Version, Kind: join.Join, Hub: hub, Network: join.Network(network),
		Wallet: join.Key(wallet.PublicKey()), Agent: join.Key(agent.PublicKey()), Challenge: challenge,
		Cluster: c.cluster, Name: c.name, Until: c.now().Add(c.delegationLasts).UTC().Truncate(time.Second),
	}
	for _, name := range c.roles {
		claim.Roles = append(claim.Roles, join.Role(strings.TrimSpace(name)))
	}
	slices.Sort(claim.Roles)
	claim.Roles = slices.Compact(claim.Roles)
	return claim.Encode()
}

// writeKubeconfig writes the access to a file that only its owner can read. What was there before stays until the new one is whole.
func writeKubeconfig(path, hub string, access join.Access) error {
	const user = "member"
	config := clientcmdapi.NewConfig()
	config.Clusters[hub] = &clientcmdapi.Cluster{Server: access.Server, CertificateAuthorityData: access.CA}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: access.Token}
	config.Contexts[hub] = &clientcmdapi.Context{Cluster: hub, AuthInfo: user, Namespace: access.Namespace}
	config.CurrentContext = hub
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("--out: %w", errors.Join(err, os.Remove(file.Name())))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("--out: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
