// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/signer"
)

// lookEvery is how often the hub is asked how far it is.
const lookEvery = 10 * time.Second

// errStays says that somebody with the wallet thought otherwise.
var errStays = errors.New("the wallet has joined again meanwhile, and stays")

// leaveCommand leaves a hub.
type leaveCommand struct {
	hubAddress

	wallet      string
	network     string
	force, wait bool
	every       time.Duration
}

func newLeave() *cobra.Command {
	c := &leaveCommand{every: lookEvery}
	command := &cobra.Command{
		Use:   "leave --hub URL --wallet FILE",
		Short: "Leave a market's hub that your wallet has joined",
		Long: `Leave a market's hub that your wallet has joined. Your wallet signs that.

From then on nothing of yours is matched. Leases that run go on to their end and are settled, and when nothing is open any more the hub
removes what you had in it. Keep your manager running until then: it settles what you are owed. To join again is to stay.

With --force your jobs are deleted, and the leases of your GPUs end at once by your own fault, which counts against you as a breach does.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return c.run(command.Context(), command.OutOrStdout()) },
	}
	flags := command.Flags()
	c.add(flags)
	flags.StringVar(&c.wallet, "wallet", "", "key file of your wallet, as solana-keygen writes it")
	flags.StringVar(&c.network, "genesis-hash", "", "hash of the first block of the only network that you sign for (default the hub's)")
	flags.BoolVar(&c.force, "force", false, "end what runs now")
	flags.BoolVar(&c.wait, "wait", false, "stay until nothing is left")
	for _, name := range []string{"hub", "wallet"} {
		if err := command.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return command
}

// run leaves, and says how far it is; with --wait until nothing is left.
func (c *leaveCommand) run(ctx context.Context, stdout io.Writer) error {
	wallet, err := signer.FromFile(c.wallet)
	if err != nil {
		return fmt.Errorf("--wallet: %w", err)
	}
	hub, err := c.client()
	if err != nil {
		return err
	}
	mode := join.WhenSettled
	if c.force {
		mode = join.AtOnce
	}
	departure, err := c.tell(ctx, hub, wallet, mode)
	if err != nil {
		return fmt.Errorf("leave %s: %w", hub.Hub(), err)
	}
	said := say(departure)
	fmt.Fprintf(stdout, "leaving %s: namespace %s\n%s\n", hub.Hub(), departure.Namespace, said)
	if !c.wait {
		fmt.Fprintln(stdout, "See how far it is: run this again with --wait, at any time")
		return nil
	}
	for !kept(departure) {
		if !sleep(ctx, c.every) {
			return fmt.Errorf("wait: %w", context.Cause(ctx))
		}
		var left bool
		if departure, left, err = c.look(ctx, hub, wallet, departure); err != nil {
			return err
		}
		if left {
			fmt.Fprintln(stdout, "left: nothing of yours is in the hub any more")
			return nil
		}
		if now := say(departure); now != said {
			said = now
			fmt.Fprintln(stdout, said)
		}
	}
	return nil
}

// look asks how far the member is, and whether it has left. A hub that does not answer now says nothing new.
func (c *leaveCommand) look(
	ctx context.Context, hub *joinhttp.Client, wallet signer.Signer, before join.Departure,
) (now join.Departure, left bool, err error) {
	next, err := c.tell(ctx, hub, wallet, join.Look)
	switch {
	case errors.Is(err, join.NotMember):
		return before, true, nil
	case patient(err):
		return before, false, nil
	case err != nil:
		return before, false, fmt.Errorf("ask %s how far it is: %w", hub.Hub(), err)
	case next.Since.IsZero():
		return before, false, fmt.Errorf("leave %s: %w", hub.Hub(), errStays)
	default:
		return next, false, nil
	}
}

// tell signs one claim to leave and sends it.
func (c *leaveCommand) tell(ctx context.Context, hub *joinhttp.Client, wallet signer.Signer, mode join.Mode) (join.Departure, error) {
	challenge, network, err := hub.Challenge(ctx, wallet.PublicKey())
	if err != nil {
		return join.Departure{}, err
	}
	if c.network != "" && c.network != network.String() {
		return join.Departure{}, fmt.Errorf("--genesis-hash: the hub settles on another network, %s; nothing was signed", network)
	}
	claim := join.Claim{
		Version: join.Version, Kind: join.Leave, Hub: hub.Hub(), Network: join.Network(network),
		Wallet: join.Key(wallet.PublicKey()), Challenge: challenge, Mode: mode,
	}
	message, err := claim.Encode()
	if err != nil {
		return join.Departure{}, err
	}
	signature, err := wallet.Sign(ctx, message)
	if err != nil {
		return join.Departure{}, fmt.Errorf("sign: %w", err)
	}
	return hub.Leave(ctx, message, signature)
}

// patient says whether the hub may answer another time: it is busy, or away for a while. What it refuses for another reason it goes on
// refusing.
func patient(err error) bool {
	if err == nil {
		return false
	}
	refusal, refused := errors.AsType[*join.Refusal](err)
	return !refused && !errors.Is(err, context.Canceled) || refused && (refusal.Reason == join.Busy || refusal.Reason == join.UnknownChallenge)
}

// kept says whether all is done that is done for a suspended member, whose entry stays.
func kept(d join.Departure) bool { return d.Suspended && d.Known && d.Supplied+d.Bought == 0 }

// say tells how far a member is that leaves.
func say(d join.Departure) string {
	switch {
	case !d.Known:
		return "the market counts what is open"
	case kept(d):
		return "nothing is open; the entry of a suspended member stays, so that it stays suspended"
	case d.Supplied+d.Bought == 0:
		return "nothing is open; what you had in the hub is being removed"
	}
	text := fmt.Sprintf("not settled: %d leases of your GPUs, %d of your jobs", d.Supplied, d.Bought)
	if !d.Until.IsZero() {
		text += "; at the latest at " + d.Until.Format(time.RFC3339)
	}
	return text
}

// sleep waits, and says no if the context ends before.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
