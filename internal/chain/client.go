// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/jsonrpc"
)

// Defaults of Options.
const (
	defaultTimeout  = 10 * time.Second
	defaultMaxReply = 8 << 20
)

// Limits of what one call asks for.
const (
	maxAccounts      = 100
	signaturesOnPage = 1000
	maxSignatures    = 100_000
)

var (
	errNoValue   = errors.New("reply holds no value")
	errTooMany   = errors.New("more than one call may ask for")
	errUnordered = errors.New("reply does not match what was asked")
)

// Options bounds the calls of a Client. A zero field means its default.
type Options struct {
	Timeout   time.Duration     // of one call; 10 s
	MaxReply  int64             // bytes of one reply; 8 MiB
	Transport http.RoundTripper // http.DefaultTransport
	Pause     time.Duration     // of a Quorum, before it asks endpoints again that are of different slots; 400 ms
	// Observe is called when a request begins; what it returns is called when the request ends.
	Observe func(method string) func(error)
}

// Client calls one JSON-RPC endpoint. Every call has a deadline and a bounded reply, and fails with an *Error.
type Client struct {
	rpc     *rpc.Client
	timeout time.Duration
	observe func(method string) func(error)
}

// NewClient returns a client of the endpoint. It does not connect yet.
func NewClient(endpoint string, options Options) *Client {
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	if options.MaxReply <= 0 {
		options.MaxReply = defaultMaxReply
	}
	if options.Transport == nil {
		options.Transport = http.DefaultTransport
	}
	if options.Observe == nil {
		options.Observe = func(string) func(error) { return func(error) {} }
	}
	client := &http.Client{
		Transport: boundedTransport{next: options.Transport, most: options.MaxReply},
		Timeout:   options.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return &Client{
		rpc:     rpc.NewWithCustomRPCClient(jsonrpc.NewClientWithOpts(endpoint, &jsonrpc.RPCClientOpts{HTTPClient: client})),
		timeout: options.Timeout,
		observe: options.Observe,
	}
}

// call runs one request under its own deadline and classifies its error.
func call[T any](ctx context.Context, c *Client, method string, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ended := c.observe(method)
	value, err := request(ctx)
	ended(err)
	if err != nil {
		var none T
		return none, classify(method, err)
	}
	return value, nil
}

// broken is the error of a reply that lacks what the method promises.
func broken(method string, cause error) error { return NewError(method, Retry, cause) }

// GenesisHash returns the hash that names the network.
func (c *Client) GenesisHash(ctx context.Context) (Hash, error) {
	return call(ctx, c, "getGenesisHash", c.rpc.GetGenesisHash)
}

// Blockhash returns the newest confirmed blockhash.
func (c *Client) Blockhash(ctx context.Context) (Blockhash, error) {
	const method = "getLatestBlockhash"
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.GetLatestBlockhashResult, error) {
		return c.rpc.GetLatestBlockhash(ctx, rpc.CommitmentConfirmed)
	})
	if err != nil {
		return Blockhash{}, err
	}
	if reply == nil || reply.Value == nil || reply.Value.LastValidBlockHeight == 0 {
		return Blockhash{}, broken(method, errNoValue)
	}
	return Blockhash{
		Hash:            reply.Value.Blockhash,
		LastValidHeight: reply.Value.LastValidBlockHeight,
		Slot:            reply.Context.Slot,
	}, nil
}

// finalizedHeight returns how far the chain is settled for good, as this node knows it.
func (c *Client) finalizedHeight(ctx context.Context) (Height, error) {
	const method = "getEpochInfo"
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.GetEpochInfoResult, error) {
		return c.rpc.GetEpochInfo(ctx, rpc.CommitmentFinalized)
	})
	if err != nil {
		return Height{}, err
	}
	if reply == nil {
		return Height{}, broken(method, errNoValue)
	}
	return Height{Block: reply.BlockHeight, Slot: reply.AbsoluteSlot}, nil
}

// Send submits signed bytes without a preflight and without the node's own retries: whoever keeps the bytes repeats them.
// Success means that the node took them, not that they land.
func (c *Client) Send(ctx context.Context, raw []byte) error {
	none := uint(0)
	_, err := call(ctx, c, "sendTransaction", func(ctx context.Context) (solana.Signature, error) {
		return c.rpc.SendEncodedTransactionWithOpts(ctx, base64.StdEncoding.EncodeToString(raw), rpc.TransactionOpts{
			SkipPreflight: true,
			MaxRetries:    &none,
		})
	})
	return err
}

// Status asks what became of a signature. An unknown one comes with how far this node's memory reaches.
func (c *Client) Status(ctx context.Context, signature Signature) (Status, error) {
	const method = "getSignatureStatuses"
	height, err := c.finalizedHeight(ctx)
	if err != nil {
		return Status{}, err
	}
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.GetSignatureStatusesResult, error) {
		return c.rpc.GetSignatureStatuses(ctx, true, signature)
	})
	if err != nil {
		return Status{}, err
	}
	if reply == nil || len(reply.Value) != 1 {
		return Status{}, broken(method, errUnordered)
	}
	status := Status{Slot: reply.Context.Slot, Finalized: height}
	found := reply.Value[0]
	if found == nil {
		status.Oldest, err = call(ctx, c, "getFirstAvailableBlock", c.rpc.GetFirstAvailableBlock)
		return status, err
	}
	status.Found, status.Landed, status.Failure = true, found.Slot, readFailure(found.Err)
	switch found.ConfirmationStatus {
	case rpc.ConfirmationStatusFinalized:
		status.Commitment = Finalized
	case rpc.ConfirmationStatusConfirmed:
		status.Commitment = Confirmed
	default:
		status.Commitment = Processed
	}
	return status, nil
}

// Simulate executes the bytes against the confirmed state without verifying signatures and without sending anything.
func (c *Client) Simulate(ctx context.Context, raw []byte) (Simulation, error) {
	simulation, _, err := c.SimulateAccounts(ctx, raw)
	return simulation, err
}

// SimulateAccounts does what Simulate does, and says what the watched accounts would hold afterwards, in the order asked for; nothing of
// them when it would fail.
func (c *Client) SimulateAccounts(ctx context.Context, raw []byte, watched ...Address) (Simulation, []Account, error) {
	const method = "simulateTransaction"
	options := &rpc.SimulateTransactionOpts{Commitment: rpc.CommitmentConfirmed}
	if len(watched) > 0 {
		options.Accounts = &rpc.SimulateTransactionAccountsOpts{Encoding: solana.EncodingBase64, Addresses: watched}
	}
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.SimulateTransactionResponse, error) {
		return c.rpc.SimulateRawTransactionWithOpts(ctx, raw, options)
	})
	if err != nil {
		return Simulation{}, nil, err
	}
	if reply == nil || reply.Value == nil {
		return Simulation{}, nil, broken(method, errNoValue)
	}
	simulation := Simulation{Failure: readFailure(reply.Value.Err), Logs: reply.Value.Logs}
	if reply.Value.UnitsConsumed != nil {
		simulation.Units = *reply.Value.UnitsConsumed
	} else if simulation.Failure == nil {
		return Simulation{}, nil, broken(method, errNoValue)
	}
	if simulation.Failure != nil {
		return simulation, nil, nil //nolint:nilerr // that it would fail is the answer
	}
	if len(reply.Value.Accounts) != len(watched) {
		return Simulation{}, nil, broken(method, errUnordered)
	}
	return simulation, readAccounts(watched, reply.Value.Accounts, reply.Context.Slot), nil
}

// Account reads one account. That an address holds nothing is an answer, not an error.
func (c *Client) Account(ctx context.Context, address Address, level Commitment) (Account, error) {
	accounts, err := c.Accounts(ctx, level, address)
	if err != nil {
		return Account{}, err
	}
	return accounts[0], nil
}

// Accounts reads up to 100 accounts as they were in one slot, in the order asked for.
func (c *Client) Accounts(ctx context.Context, level Commitment, addresses ...Address) ([]Account, error) {
	return c.accountsSince(ctx, nil, level, addresses)
}

// accountsSince is Accounts, refused by a node that has not reached the slot since.
func (c *Client) accountsSince(ctx context.Context, since *uint64, level Commitment, addresses []Address) ([]Account, error) {
	const method = "getMultipleAccounts"
	if len(addresses) > maxAccounts {
		return nil, &Error{Method: method, Class: Stop, cause: errTooMany}
	}
	reply, err := call(ctx, c, method, func(ctx context.Context) (*rpc.GetMultipleAccountsResult, error) {
		return c.rpc.GetMultipleAccountsWithOpts(ctx, addresses, &rpc.GetMultipleAccountsOpts{
			Encoding: solana.EncodingBase64, Commitment: commitment(level), MinContextSlot: since,
		})
	})
	if err != nil {
		return nil, err
	}
	if len(reply.Value) != len(addresses) {
		return nil, broken(method, errUnordered)
	}
	return readAccounts(addresses, reply.Value, reply.Context.Slot), nil
}

// readAccounts reads accounts as a node gives them; one that is not there is none.
func readAccounts(addresses []Address, given []*rpc.Account, slot uint64) []Account {
	accounts := make([]Account, len(addresses))
	for i, found := range given {
		accounts[i] = Account{Address: addresses[i], Slot: slot}
		if found == nil {
			continue
		}
		accounts[i].Exists, accounts[i].Owner, accounts[i].Lamports = true, found.Owner, found.Lamports
		accounts[i].Executable = found.Executable
		if found.Data != nil {
			accounts[i].Data = found.Data.GetBinary()
		}
	}
	return accounts
}

// boundedTransport cuts replies that are larger than allowed.
type boundedTransport struct {
	next http.RoundTripper
	most int64
}

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{body: response.Body, left: t.most}
	return response, nil
}

// boundedBody is a body that fails, rather than ends, at its limit: a cut reply must not look complete.
type boundedBody struct {
	body io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errUnreadable
	}
	if int64(len(into)) > b.left {
		into = into[:b.left]
	}
	n, err := b.body.Read(into)
	b.left -= int64(n)
	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error { return b.body.Close() }
