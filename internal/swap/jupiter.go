// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// JupiterEndpoint is where Jupiter builds swaps.
const JupiterEndpoint = "https://api.jup.ag/swap/v2/build"

// Bounds of one answer and of what is asked for.
const (
	defaultTimeout  = 10 * time.Second
	maxReply        = 256 << 10
	maxAccounts     = 40 // of a route: more would not leave room for the burn in one transaction
	maxPerCall      = 64
	maxTables       = 8
	maxData         = 1_024
	exactIn         = "ExactIn"
	headerKey       = "x-api-key"
	statusRedirects = 300
)

// Options are how a provider is reached. A zero field means its default.
type Options struct {
	Endpoint  string // JupiterEndpoint
	Key       string // the API key; none is sent when it is empty
	Timeout   time.Duration
	Transport http.RoundTripper
}

// Jupiter asks the Jupiter aggregator for routes. It asks for exact amounts only, and never for a tip.
type Jupiter struct {
	endpoint  string
	authorize func(*http.Request) // holds the key, so that no way of printing a Jupiter shows it
	client    *http.Client
}

// NewJupiter returns a client. It does not connect yet.
func NewJupiter(options Options) *Jupiter {
	if options.Endpoint == "" {
		options.Endpoint = JupiterEndpoint
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	key := options.Key
	return &Jupiter{
		endpoint: options.Endpoint,
		authorize: func(request *http.Request) {
			if key != "" {
				request.Header.Set(headerKey, key)
			}
		},
		client: &http.Client{
			Transport: options.Transport, Timeout: options.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Build asks for a route.
func (j *Jupiter) Build(ctx context.Context, request Request) (Route, error) {
	call, err := j.request(ctx, request)
	if err != nil {
		return Route{}, err
	}
	reply, err := j.client.Do(call)
	if err != nil {
		return Route{}, refuse(Unavailable, "the swap API did not answer: %s", cause(err))
	}
	defer func() { _ = reply.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	switch {
	case err != nil:
		return Route{}, refuse(Unavailable, "the swap API's answer broke off: %s", cause(err))
	case reply.StatusCode != http.StatusOK:
		return Route{}, refuseStatus(reply.StatusCode)
	case len(body) > maxReply:
		return Route{}, refuse(Garbage, "the swap API's answer is larger than %d bytes", maxReply)
	}
	return readBuild(body, request)
}

func (j *Jupiter) request(ctx context.Context, request Request) (*http.Request, error) {
	address, err := url.Parse(j.endpoint)
	if err != nil || address.Host == "" {
		return nil, refuse(Unavailable, "the swap API's endpoint is no URL")
	}
	address.RawQuery = url.Values{
		"inputMint":               {request.Pay.String()},
		"outputMint":              {request.Get.String()},
		"amount":                  {request.Amount.String()},
		"slippageBps":             {strconv.Itoa(int(request.SlippageBps))},
		"taker":                   {request.Taker.String()},
		"destinationTokenAccount": {request.Into.String()},
		"maxAccounts":             {strconv.Itoa(maxAccounts)},
	}.Encode()
	call, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, refuse(Unavailable, "the swap API's endpoint is no URL")
	}
	call.Header.Set("Accept", "application/json")
	j.authorize(call)
	return call, nil
}

// cause leaves out the URL, which may hold a key of its own.
func cause(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return err.Error()
}

// refuseStatus says what a status means. The body is the provider's text, and is not repeated.
func refuseStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return refuse(Unauthorized, "the swap API refuses the API key with status %d", status)
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError || status == http.StatusRequestTimeout:
		return refuse(Unavailable, "the swap API answers with status %d", status)
	case status >= statusRedirects && status < http.StatusBadRequest:
		return refuse(Unavailable, "the swap API redirects with status %d", status)
	default:
		return refuse(NoRoute, "the swap API refuses the swap with status %d", status)
	}
}

// build is the part of Jupiter's answer that is used. What is not used may be there too.
type build struct {
	InputMint            string                     `json:"inputMint"`
	OutputMint           string                     `json:"outputMint"`
	InAmount             string                     `json:"inAmount"`
	OutAmount            string                     `json:"outAmount"`
	OtherAmountThreshold string                     `json:"otherAmountThreshold"`
	SwapMode             string                     `json:"swapMode"`
	SetupInstructions    []instruction              `json:"setupInstructions"`
	SwapInstruction      *instruction               `json:"swapInstruction"`
	CleanupInstruction   *instruction               `json:"cleanupInstruction"`
	OtherInstructions    []instruction              `json:"otherInstructions"`
	TipInstruction       json.RawMessage            `json:"tipInstruction"`
	Tables               map[string]json.RawMessage `json:"addressesByLookupTableAddress"`
}

type instruction struct {
	ProgramID string `json:"programId"`
	Accounts  []struct {
		Pubkey     string `json:"pubkey"`
		IsSigner   *bool  `json:"isSigner"`
		IsWritable *bool  `json:"isWritable"`
	} `json:"accounts"`
	Data string `json:"data"`
}

// readBuild reads the whole answer, and refuses one of anything but this exchange.
func readBuild(body []byte, request Request) (Route, error) {
	var answer build
	if err := json.Unmarshal(body, &answer); err != nil { // refuses what follows the object, too
		return Route{}, refuse(Garbage, "the swap API's answer is no JSON of a route")
	}
	switch {
	case answer.InputMint != request.Pay.String() || answer.OutputMint != request.Get.String():
		return Route{}, refuse(Garbage, "the swap API answers for other tokens")
	case answer.SwapMode != exactIn:
		return Route{}, refuse(Garbage, "the swap API answers in mode %.20q", answer.SwapMode)
	case len(answer.TipInstruction) > 0 && string(answer.TipInstruction) != "null":
		return Route{}, refuse(Tip, "the swap API wants a tip")
	case len(answer.OtherInstructions) > 0:
		return Route{}, refuse(ForeignProgram, "the swap API adds %d instructions beside the swap", len(answer.OtherInstructions))
	case answer.SwapInstruction == nil:
		return Route{}, refuse(Garbage, "the swap API's answer has no swap")
	}
	all := append(answer.SetupInstructions, *answer.SwapInstruction)
	if answer.CleanupInstruction != nil {
		all = append(all, *answer.CleanupInstruction)
	}
	var route Route
	for _, read := range []struct {
		into *money.Amount
		text string
	}{{&route.Amount, answer.InAmount}, {&route.Expected, answer.OutAmount}, {&route.Least, answer.OtherAmountThreshold}} {
		value, err := (money.Token{}).Parse(read.text)
		if err != nil {
			return Route{}, refuse(Garbage, "the swap API answers with the amount %.30q", read.text)
		}
		*read.into = value
	}
	return route.fill(all, answer.Tables)
}

// fill reads instructions and tables, always in the same order.
func (r Route) fill(instructions []instruction, tables map[string]json.RawMessage) (Route, error) {
	for i, given := range instructions {
		read, err := given.read()
		if err != nil {
			return Route{}, refuse(Garbage, "instruction %d of the swap API's answer: %s", i, err)
		}
		r.Instructions = append(r.Instructions, read)
	}
	if len(tables) > maxTables {
		return Route{}, refuse(Garbage, "the swap API's answer uses %d lookup tables", len(tables))
	}
	for text := range tables {
		address, err := chain.ParseAddress(text)
		if err != nil {
			return Route{}, refuse(Garbage, "the swap API's answer has no address for a lookup table")
		}
		r.Tables = append(r.Tables, address)
	}
	slices.SortFunc(r.Tables, func(a, b chain.Address) int { return slices.Compare(a[:], b[:]) })
	return r, nil
}

func (i instruction) read() (chain.Instruction, error) {
	program, err := chain.ParseAddress(i.ProgramID)
	if err != nil {
		return chain.Instruction{}, err
	}
	data, err := base64.StdEncoding.Strict().DecodeString(i.Data)
	if err != nil || len(data) > maxData || len(i.Accounts) > maxPerCall {
		return chain.Instruction{}, fmt.Errorf("%d accounts, %d characters of data", len(i.Accounts), len(i.Data))
	}
	read := chain.Instruction{Program: program, Data: data}
	for _, account := range i.Accounts {
		address, err := chain.ParseAddress(account.Pubkey)
		if err != nil {
			return chain.Instruction{}, err
		}
		if account.IsSigner == nil || account.IsWritable == nil {
			return chain.Instruction{}, errors.New("an account without its rights")
		}
		read.Accounts = append(read.Accounts, chain.Meta{Address: address, Signer: *account.IsSigner, Writable: *account.IsWritable})
	}
	return read, nil
}
