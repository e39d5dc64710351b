// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/signer"
)

const (
	firstRetry = 5 * time.Second
	lastRetry  = time.Minute
	// jitter is the part of every wait that differs between members, so that they do not all come at once after an outage.
	jitter = 0.2
)

// KeeperOptions are whose token is kept, and with whose key.
type KeeperOptions struct {
	Client *Client
	Wallet chain.Address
	Agent  signer.Signer
	// Network is the network that the member settles on itself, and alone signs for.
	Network func(ctx context.Context) (chain.Hash, error)
	Log     logr.Logger
	Now     func() time.Time
}

// Keeper keeps a member's token fresh: it renews it when half of its time is over, or when the hub no longer takes it. A hub that does not
// answer takes nothing away: the token that there is goes on being used.
type Keeper struct {
	o    KeeperOptions
	wake chan struct{}

	mu      sync.Mutex
	access  join.Access
	since   time.Time
	refused join.Reason // why the hub gave no token the last time that it answered; empty if it gave one
}

// NewKeeper returns a keeper that has no token yet: call Renew.
func NewKeeper(o KeeperOptions) *Keeper { return &Keeper{o: o, wake: make(chan struct{}, 1)} }

// String names the wallet, not the token.
func (k *Keeper) String() string { return "keeper of the token of " + k.o.Wallet.String() }

// GoString names the wallet, not the token.
func (k *Keeper) GoString() string { return k.String() }

// Renew gets a new token at once. A *join.Refusal says that only people can help.
func (k *Keeper) Renew(ctx context.Context) (join.Access, error) {
	access, err := k.renew(ctx)
	if errors.Is(err, join.UnknownChallenge) { // another replica of the hub answered the second time
		access, err = k.renew(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if refusal, ok := errors.AsType[*join.Refusal](err); ok && refusal.Reason != join.Busy {
		k.refused = refusal.Reason
	}
	if err != nil {
		return join.Access{}, err
	}
	k.access, k.since, k.refused = access, k.o.Now(), ""
	return access, nil
}

// NotMember says whether the hub has said that it does not know the member. That it does not answer says nothing.
func (k *Keeper) NotMember() bool { return k.refusal() == join.NotMember }

func (k *Keeper) refusal() join.Reason {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refused
}

func (k *Keeper) renew(ctx context.Context) (join.Access, error) {
	challenge, network, err := k.o.Client.Challenge(ctx, k.o.Wallet)
	if err != nil {
		return join.Access{}, err
	}
	own, err := k.o.Network(ctx)
	if err != nil {
		return join.Access{}, fmt.Errorf("ask the chain which network it is: %w", err)
	}
	if network != own {
		return join.Access{}, fmt.Errorf("%w: it settles on the network %s, and --chain-rpc is of %s", ErrHub, network, own)
	}
	claim := join.Claim{
		Version: join.Version, Kind: join.Renew, Hub: k.o.Client.Hub(), Network: join.Network(network),
		Wallet: join.Key(k.o.Wallet), Agent: join.Key(k.o.Agent.PublicKey()), Challenge: challenge,
	}
	message, err := claim.Encode()
	if err != nil {
		return join.Access{}, err
	}
	signature, err := k.o.Agent.Sign(ctx, message)
	if err != nil {
		return join.Access{}, fmt.Errorf("sign renewal: %w", err)
	}
	return k.o.Client.Send(ctx, join.Renew, message, signature)
}

// Start renews until the context ends.
func (k *Keeper) Start(ctx context.Context) error {
	wait, retry, wake := k.half(), firstRetry, k.wake
	for k.sleep(ctx, wait, wake) {
		before := k.refusal()
		access, err := k.Renew(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // it was told to stop
			}
			k.tell(before, err)
			wait, retry, wake = retry, min(2*retry, lastRetry), nil // a token that is refused again says nothing new
			continue
		}
		k.o.Log.V(1).Info("Renewed the hub's token", "namespace", access.Namespace)
		wait, retry, wake = k.half(), firstRetry, k.wake
	}
	return nil
}

// tell says that there is no new token. That the hub does not know the member any more is said once, since nobody may mend it.
func (k *Keeper) tell(before join.Reason, err error) {
	switch {
	case !errors.Is(err, join.NotMember):
		k.o.Log.Error(err, "Could not renew the hub's token")
	case before != join.NotMember:
		k.o.Log.Error(err, "Lost the membership: the hub does not know this member any more; leases that run go on, and nothing new is sold")
	}
}

// NeedLeaderElection says no: whoever waits for the lead reads the hub too.
func (k *Keeper) NeedLeaderElection() bool { return false }

// half is how long the token is good for half of its time. By a clock that is ahead of the hub's no time may be left of a token that is new:
// then the hub's refusal says when it is over.
func (k *Keeper) half() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(k.access.Expires.Sub(k.since)/2, lastRetry)
}

// sleep waits, a little less than asked. Where the hub refuses the token meanwhile, it waits for a moment only, so that a hub that refuses
// every token is not asked without end. It says no when the context ends.
func (k *Keeper) sleep(ctx context.Context, wait time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(time.Duration(float64(wait) * (1 - jitter*rand.Float64()))) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-wake:
		return k.sleep(ctx, firstRetry, nil)
	}
}

// Wrap puts the newest token on every request.
func (k *Keeper) Wrap(next http.RoundTripper) http.RoundTripper {
	return &bearer{keeper: k, next: next}
}

type bearer struct {
	keeper *Keeper
	next   http.RoundTripper
}

// RoundTrip sends a copy of the request with the token.
func (b *bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	b.keeper.mu.Lock()
	token := b.keeper.access.Token
	b.keeper.mu.Unlock()
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := b.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		select {
		case b.keeper.wake <- struct{}{}:
		default: // it was told already
		}
	}
	return response, err
}
