// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/gagliardetto/solana-go/rpc/jsonrpc"
)

// Class says what an error of a call means for whoever sent something.
type Class string

// The classes. An error that fits no other class is Retry: it says nothing about whether the bytes land.
const (
	Retry   Class = "Retry"   // send the same bytes again, or ask again
	Expired Class = "Expired" // this node says that the blockhash is too old; proof needs the finalized height
	Already Class = "Already" // the chain has the transaction: read its status
	Failed  Class = "Failed"  // it would fail on the chain, or did: see the Failure
	Stop    Class = "Stop"    // no repetition can help before somebody acts: signature, format, funds, or a frozen or wrong account
)

// Error is a failed call to the endpoint. Its text names neither the endpoint nor its path, which may hold an API key.
type Error struct {
	Method  string
	Class   Class
	Failure *Failure // the runtime's answer, when there was one
	cause   error
}

// NewError returns the error of a failed call, for clients other than Client.
func NewError(method string, class Class, cause error) *Error {
	return &Error{Method: method, Class: class, cause: cause}
}

// Error describes the failed call on one line.
func (e *Error) Error() string { return e.Method + ": " + e.cause.Error() }

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.cause }

// ClassOf returns the class of an error. What is not an error of this package is Retry.
func ClassOf(err error) Class {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed.Class
	}
	if failure, ok := errors.AsType[*Failure](err); ok {
		return classOfFailure(failure)
	}
	return Retry
}

// JSON-RPC error codes of Solana nodes. What is not named here, such as an overloaded, unhealthy or pruned node, is Retry.
const (
	codeInvalidParams    = -32602
	codePreflightFailure = -32002
	codeBadSignature     = -32003
	codeBadPrecompile    = -32006
	codeUnsupported      = -32015
	codeBehind           = -32016
)

var (
	errUnreadable = errors.New("unreadable or oversized reply")
	errBehind     = errors.New("node has not come as far as was seen before")
)

// classify turns whatever a call returned into an Error.
func classify(method string, err error) error {
	if refused, ok := errors.AsType[*jsonrpc.RPCError](err); ok {
		return classifyReply(method, refused)
	}
	failed := &Error{Method: method, Class: Retry}
	status, isStatus := errors.AsType[*jsonrpc.HTTPError](err)
	transport, isTransport := errors.AsType[*url.Error](err)
	_, isNetwork := errors.AsType[net.Error](err)
	switch {
	case isStatus:
		failed.cause = fmt.Errorf("http status %d", status.Code)
	case errors.Is(err, context.DeadlineExceeded):
		failed.cause = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		failed.cause = context.Canceled
	case isTransport:
		failed.cause = transport.Err
	case isNetwork:
		failed.cause = errors.New("connection broke")
	default: // the library's text holds the whole URL, so it is not repeated
		failed.cause = errUnreadable
	}
	return failed
}

// classifyReply reads an error that the node itself gave.
func classifyReply(method string, refused *jsonrpc.RPCError) error {
	failed := &Error{Method: method, Class: Retry, cause: fmt.Errorf("code %d: %s", refused.Code, clip(refused.Message))}
	switch refused.Code {
	case codeBadSignature, codeBadPrecompile, codeInvalidParams, codeUnsupported:
		failed.Class = Stop
	case codeBehind:
		failed.cause = fmt.Errorf("%w (code %d)", errBehind, refused.Code)
	case codePreflightFailure:
		failed.Failure = preflightFailure(refused.Data)
		failed.Class = classOfFailure(failed.Failure)
	}
	return failed
}

// preflightFailure finds the runtime's error in the data of a refused preflight.
func preflightFailure(data any) *Failure {
	var body struct {
		Err json.RawMessage `json:"err"`
	}
	if raw, err := json.Marshal(data); err == nil && json.Unmarshal(raw, &body) == nil && body.Err != nil {
		return readFailure(body.Err)
	}
	return nil
}

// classOfFailure says what a runtime error means for whoever sent the transaction.
func classOfFailure(failure *Failure) Class {
	if failure == nil {
		return Retry
	}
	switch failure.Kind {
	case "BlockhashNotFound":
		return Expired
	case "AlreadyProcessed":
		return Already
	case "SignatureFailure", "SanitizeFailure", "InsufficientFundsForFee", "InsufficientFundsForRent", "AccountNotFound", "InvalidAccountForFee":
		return Stop
	case "AccountInUse", "TooManyAccountLocks", "ClusterMaintenance", "ResanitizationNeeded", "CommitCancelled",
		"WouldExceedMaxBlockCostLimit", "WouldExceedMaxAccountCostLimit", "WouldExceedAccountDataBlockLimit",
		"WouldExceedMaxVoteCostLimit", "ProgramExecutionTemporarilyRestricted":
		return Retry
	}
	if _, known := tokenRefusals[failure.Code]; known && failure.Detail == custom {
		return Stop
	}
	return Failed
}
