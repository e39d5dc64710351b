// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// NoInstruction is a Failure's Instruction when the transaction as a whole was refused.
const NoInstruction = -1

// Failure says why a transaction failed on the chain.
//
//nolint:errname // a fact that the chain states, and an error only to whoever expected success
type Failure struct {
	Kind        string // as the runtime names it: "InstructionError", "AlreadyProcessed", …
	Instruction int    // index of the failed instruction, or NoInstruction
	Detail      string // the instruction's error: "Custom", "InvalidAccountData", …
	Code        uint32 // the program's own code when Detail is "Custom"
}

// Error describes the failure on one line.
func (f *Failure) Error() string {
	switch {
	case f.Instruction == NoInstruction:
		return f.Kind
	case f.Detail == custom && tokenRefusals[f.Code] != "":
		return fmt.Sprintf("instruction %d failed with code %d: %s", f.Instruction, f.Code, tokenRefusals[f.Code])
	case f.Detail == custom:
		return fmt.Sprintf("instruction %d failed with code %d", f.Instruction, f.Code)
	default:
		return fmt.Sprintf("instruction %d failed: %s", f.Instruction, f.Detail)
	}
}

// IsCustom says whether a program refused with the given code of its own.
func (f *Failure) IsCustom(code uint32) bool {
	return f != nil && f.Detail == custom && f.Code == code
}

// tokenRefusals are the codes of the System and Token programs that somebody has to act upon. Programs of the market count from 100.
//
//nolint:gochecknoglobals // a table: it is read, never written
var tokenRefusals = map[uint32]string{
	1:  "insufficient funds",
	3:  "a token account is of another mint",
	4:  "a token account has another owner",
	17: "a token account is frozen",
}

const (
	custom       = "Custom"
	unreadable   = "Unreadable"
	maxErrorText = 200
)

// readFailure turns the runtime's error, decoded from JSON or still raw, into a Failure; nil stays nil.
// An error in a form unknown to us is a failure still, never a success.
func readFailure(value any) *Failure {
	if value == nil {
		return nil
	}
	raw, ok := value.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(value); err != nil {
			return &Failure{Kind: unreadable, Instruction: NoInstruction}
		}
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil
	}
	kind, detail := variant(raw)
	failure := &Failure{Kind: kind, Instruction: NoInstruction}
	if kind != "InstructionError" {
		return failure
	}
	var pair []json.RawMessage
	var index uint8
	if json.Unmarshal(detail, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &index) != nil {
		return &Failure{Kind: unreadable, Instruction: NoInstruction}
	}
	failure.Instruction = int(index)
	var inner json.RawMessage
	failure.Detail, inner = variant(pair[1])
	if failure.Detail == custom && json.Unmarshal(inner, &failure.Code) != nil {
		failure.Detail = unreadable
	}
	return failure
}

// variant reads an enum as the runtime writes it: "Name", or {"Name": detail}.
func variant(raw json.RawMessage) (name string, detail json.RawMessage) {
	if json.Unmarshal(raw, &name) == nil {
		return clip(name), nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || len(object) != 1 {
		return unreadable, nil
	}
	for name, detail = range object {
		name = clip(name)
	}
	return name, detail
}

// clip bounds a text that a node wrote before it reaches an error, a log or a status.
func clip(text string) string {
	if len(text) > maxErrorText {
		return text[:maxErrorText] + "…"
	}
	return text
}
