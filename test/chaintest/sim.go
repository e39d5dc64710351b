// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Sim controls a chain as no client of a real one can: its time, its forks, its
// faults, its accounts.
type Sim struct {
	url    string
	client *http.Client
}

// NewSim controls the chain at an RPC URL.
func NewSim(rpcURL string, client *http.Client) *Sim {
	return &Sim{url: rpcURL + "/sim", client: client}
}

// Action is what a fault does.
type Action string

// Faults instead of a request, which then has no effect.
const (
	HTTP  Action = "http"  // Answers with Status (429 when zero).
	Error Action = "error" // Answers with a JSON-RPC error (-32005 when Code is zero).
	Reset Action = "reset" // Cuts the connection.
	Hang  Action = "hang"  // Waits for Wait (an hour when zero) before serving it.
	Null  Action = "null"  // Answers null.
)

// Faults on the way of a sent transaction, and after the effect of a request.
const (
	Drop         Action = "drop"         // Accepts a transaction that never lands.
	Delay        Action = "delay"        // Lets it land Slots later (10 when zero).
	LoseResponse Action = "loseResponse" // Cuts the connection after the effect.
	ErrorAfter   Action = "errorAfter"   // Answers with an error after the effect.
	HangAfter    Action = "hangAfter"    // Answers late, after the effect.
)

// Faults of websocket notifications; their Method is ws:account, ws:logs,
// ws:program, ws:signature, ws:slot or ws:root.
const (
	Lose  Action = "lose"  // Never sends it.
	Close Action = "close" // Closes the connection instead.
)

// Always is the Times of a rule that never wears out.
const Always = -1

// Rule makes something go wrong.
type Rule struct {
	Action Action
	// Method is the JSON-RPC method, or the notification; any when empty.
	Method string
	// Account and Memo choose transactions that name the account, or whose memo
	// contains the text; any when empty.
	Account, Memo string
	// Times is how often the rule applies; once when zero.
	Times int
	// Skip is how many matches pass first.
	Skip       int
	Slots      int
	Wait       time.Duration
	Status     int
	RetryAfter time.Duration
	Code       int
	Message    string
}

// MarshalJSON leaves out what is not set, so that the chain's defaults hold.
func (r Rule) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"action": r.Action}
	put := func(name string, value any, set bool) {
		if set {
			fields[name] = value
		}
	}
	put("method", r.Method, r.Method != "")
	put("account", r.Account, r.Account != "")
	put("memo", r.Memo, r.Memo != "")
	put("times", r.Times, r.Times != 0)
	put("skip", r.Skip, r.Skip != 0)
	put("slots", r.Slots, r.Slots != 0)
	put("ms", r.Wait.Milliseconds(), r.Wait != 0)
	put("status", r.Status, r.Status != 0)
	put("retryAfter", int(r.RetryAfter.Seconds()), r.RetryAfter != 0)
	put("code", r.Code, r.Code != 0)
	put("message", r.Message, r.Message != "")
	return json.Marshal(fields)
}

// RuleState is a rule that the chain has, and how often it applied.
type RuleState struct {
	ID     int    `json:"id"`
	Action Action `json:"action"`
	Method string `json:"method"`
	Times  int    `json:"times"`
	Hits   int    `json:"hits"`
}

// Stats is what a chain has done so far.
type Stats struct {
	Slot          uint64         `json:"slot"`
	Height        uint64         `json:"height"`
	Time          int64          `json:"time"`
	Landed        int            `json:"landed"`
	Refused       int            `json:"refused"`
	Expired       int            `json:"expired"`
	Duplicate     int            `json:"duplicate"`
	Pending       int            `json:"pending"`
	Transactions  int            `json:"transactions"`
	Subscriptions int            `json:"subscriptions"`
	Calls         map[string]int `json:"calls"`
	Memory        int64          `json:"memory"`
}

// Account is an account as SetAccount writes it.
type Account struct {
	Lamports   uint64 `json:"lamports"`
	Owner      string `json:"owner"`
	Data       []byte `json:"data"`
	Executable bool   `json:"executable"`
}

// Tick makes a number of blocks at once.
func (s *Sim) Tick(ctx context.Context, blocks int) error {
	return s.do(ctx, map[string]any{"op": "tick", "n": blocks}, nil)
}

// Auto makes a slot every so often from now on; zero stops that.
func (s *Sim) Auto(ctx context.Context, slot time.Duration) error {
	return s.do(ctx, map[string]any{"op": "auto", "slotMs": slot.Milliseconds()}, nil)
}

// Rollback takes back the last blocks, as when another fork wins, and returns
// the signatures that are in no block any more. With reland they are submitted
// again. Finalized blocks cannot be taken back.
func (s *Sim) Rollback(ctx context.Context, depth int, reland bool) ([]string, error) {
	var result struct {
		Lost []string `json:"lost"`
	}
	err := s.do(ctx, map[string]any{"op": "rollback", "depth": depth, "reland": reland}, &result)
	return result.Lost, err
}

// DropPending forgets the transactions that have not landed, and counts them.
func (s *Sim) DropPending(ctx context.Context) (int, error) {
	var dropped int
	err := s.do(ctx, map[string]any{"op": "dropPending"}, &dropped)
	return dropped, err
}

// Rule adds a fault and returns its id.
func (s *Sim) Rule(ctx context.Context, rule Rule) (int, error) {
	var id int
	err := s.do(ctx, map[string]any{"op": "rule", "rule": rule}, &id)
	return id, err
}

// Rules lists the faults.
func (s *Sim) Rules(ctx context.Context) ([]RuleState, error) {
	var rules []RuleState
	err := s.do(ctx, map[string]any{"op": "rules"}, &rules)
	return rules, err
}

// Clear removes all faults.
func (s *Sim) Clear(ctx context.Context) error {
	return s.do(ctx, map[string]any{"op": "clear"}, nil)
}

// WarpTime moves the chain's clock forward, to the second.
func (s *Sim) WarpTime(ctx context.Context, by time.Duration) error {
	return s.do(ctx, map[string]any{"op": "warpTime", "seconds": int64(by / time.Second)}, nil)
}

// SetAccount replaces an account; nil removes it.
func (s *Sim) SetAccount(ctx context.Context, address string, account *Account) error {
	return s.do(ctx, map[string]any{"op": "setAccount", "address": address, "account": account}, nil)
}

// AddProgram loads a program without a deployment.
func (s *Sim) AddProgram(ctx context.Context, address string, elf []byte) error {
	return s.do(ctx, map[string]any{"op": "addProgram", "address": address, "elf": elf}, nil)
}

// Snapshot writes the chain's state down.
func (s *Sim) Snapshot(ctx context.Context) error {
	return s.do(ctx, map[string]any{"op": "snapshot"}, nil)
}

// Stats tells what the chain has done so far.
func (s *Sim) Stats(ctx context.Context) (Stats, error) {
	var stats Stats
	err := s.do(ctx, map[string]any{"op": "stats"}, &stats)
	return stats, err
}

// do asks for one operation and reads its result, where one is wanted.
func (s *Sim) do(ctx context.Context, operation map[string]any, result any) (err error) {
	body, err := json.Marshal(operation)
	if err != nil {
		return fmt.Errorf("encode %v: %w", operation["op"], err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask chain for %v: %w", operation["op"], err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  string          `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read answer to %v: %w", operation["op"], err)
	}
	if answer.Error != "" {
		return fmt.Errorf("ask chain for %v: %s", operation["op"], answer.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("read result of %v: %w", operation["op"], err)
	}
	return nil
}
