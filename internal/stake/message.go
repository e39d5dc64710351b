// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// ErrMessage says that a message is not one that this package builds, so that nobody should sign it.
var ErrMessage = errors.New("message is not understood")

// Kind is what a message does.
type Kind string

// The kinds.
const (
	KindCreatePool    Kind = "CreatePool"
	KindBond          Kind = "Bond" // also when it makes the pool first
	KindUnbond        Kind = "Unbond"
	KindWithdraw      Kind = "Withdraw"
	KindProposeSlash  Kind = "ProposeSlash"
	KindAppeal        Kind = "Appeal"
	KindExecuteSlash  Kind = "ExecuteSlash"
	KindDropSlash     Kind = "DropSlash"
	KindCreateRewards Kind = "CreateRewards"
	KindPostRewards   Kind = "PostRewards"
	KindClaimReward   Kind = "ClaimReward"
)

// Intent is what a message would do once it is signed. Tokens and Lamports are the most that can leave the signer's wallet, whatever
// the chain makes of it.
type Intent struct {
	Kind     Kind
	Program  chain.Address
	Signer   chain.Address // the only signer, who pays the fees of the chain
	Account  chain.Address // the pool or the rewards account
	Mint     chain.Address // zero where the message does not name it
	Tokens   money.Amount  // the most of the mint that leaves the signer's associated token account
	Lamports money.Amount  // fees, priority fee and rent
	Amount   money.Amount  // ProposeSlash: what the pool would lose
}

// ReadMessage says what a message would do: a transaction of one signer with one instruction of one of the programs for stakes or
// rewards, or with two that make a pool and bond in it. Anything else is an ErrMessage.
func ReadMessage(message []byte, programs ...chain.Address) (Intent, error) {
	if len(message) == 0 || message[0] != 1 { // a legacy message begins with how many sign it
		return Intent{}, fmt.Errorf("%w: not a plain transaction of one signer", ErrMessage)
	}
	envelope, err := chain.NewEnvelope(message)
	if err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	calls, err := envelope.Calls()
	if err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	read := reading{programs: programs, intent: Intent{Signer: envelope.Signers()[0]}}
	for _, call := range calls {
		if err := read.call(call); err != nil {
			return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
		}
	}
	if err := read.finish(); err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	compiled, err := chain.CompileMessage(read.intent.Signer, read.rebuilt, envelope.Blockhash())
	if err != nil || !bytes.Equal(compiled, message) {
		return Intent{}, fmt.Errorf("%w: accounts have other rights or another order", ErrMessage)
	}
	return read.intent, nil
}

// reading takes a message apart and builds it again.
type reading struct {
	programs []chain.Address
	intent   Intent
	rebuilt  []chain.Instruction
	cost     chain.Cost
}

func (r *reading) call(call chain.Call) error {
	switch {
	case call.Program == chain.ComputeBudgetProgram && r.intent.Kind == "":
		return r.rebuild(r.cost.Budget(call))
	case call.Program == chain.AssociatedProgram && r.intent.Kind == "":
		return errors.Join(r.cost.Rent(chain.TokenAccountSize), r.rebuild(chain.ReadTokenAccount(call, r.intent.Signer)))
	case !slices.Contains(r.programs, call.Program):
		return fmt.Errorf("it calls the program %s", call.Program)
	case r.intent.Kind == "" || r.intent.Kind == KindCreatePool && len(call.Data) > 0 && call.Data[0] == opBond:
		return r.effect(call)
	default:
		return fmt.Errorf("an instruction follows the %s", r.intent.Kind)
	}
}

// rebuild takes in an instruction as it is built.
func (r *reading) rebuild(again chain.Instruction, err error) error {
	r.rebuilt = append(r.rebuilt, again)
	return err
}

// effect reads the program's own instruction.
func (r *reading) effect(call chain.Call) error {
	addresses, err := r.shape(call)
	if err != nil {
		return err
	}
	made := r.intent.Account // by the instruction before, if there was one
	switch call.Data[0] {
	case opCreatePool:
		return r.createPool(call, addresses)
	case opBond:
		if !made.IsZero() && made != addresses[2] {
			return errors.New("it makes one pool and bonds in another")
		}
		return r.bond(call, addresses)
	case opUnbond:
		r.intent.Kind, r.intent.Account = KindUnbond, addresses[2]
		return r.position(call.Program, addresses[2], addresses[3])
	case opWithdraw:
		return r.withdraw(call, addresses)
	case opCreateRewards, opPostRewards, opClaimReward:
		return r.reward(call, addresses)
	default:
		return r.slash(call, addresses)
	}
}

// shape checks the form of the program's own instruction, and returns its accounts.
func (r *reading) shape(call chain.Call) ([]chain.Address, error) {
	if len(call.Data) == 0 {
		return nil, errors.New("an empty instruction")
	}
	form, known := formOf(call.Data[0])
	addresses, ok := form.Read(call)
	if !known || !ok || addresses[0] != r.intent.Signer {
		return nil, fmt.Errorf("instruction %d in another form, or of another signer", call.Data[0])
	}
	r.intent.Program = call.Program
	r.rebuilt = append(r.rebuilt, form.Build(call.Program, call.Data, addresses...))
	return addresses, nil
}

func (r *reading) createPool(call chain.Call, addresses []chain.Address) error {
	p := Pool{Program: call.Program, Config: addresses[1], Owner: addresses[0], Mint: addresses[4]}
	again, err := CreatePool(p)
	if err != nil {
		return err
	}
	r.rebuilt[len(r.rebuilt)-1] = again[0]
	r.intent.Kind, r.intent.Account, r.intent.Mint = KindCreatePool, addresses[2], addresses[4]
	if err := r.cost.Rent(poolSize); err != nil {
		return err
	}
	return r.cost.Rent(chain.TokenAccountSize)
}

// bond reads what goes to stake: no more than the amount, from the signer's own associated account, into the pool's own vault.
func (r *reading) bond(call chain.Call, addresses []chain.Address) error {
	pool, mint := addresses[2], addresses[5]
	vault, err := vaultOf(call.Program, pool)
	if err != nil || vault.address != addresses[4] {
		return errors.New("a bond into another vault than the pool's")
	}
	tokens, err := chain.TokenAddress(r.intent.Signer, mint)
	if err != nil || tokens != addresses[6] {
		return errors.New("a bond from another token account")
	}
	r.intent.Kind, r.intent.Account, r.intent.Mint = KindBond, pool, mint
	r.intent.Tokens = money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	if err := r.cost.Rent(positionSize); err != nil {
		return err
	}
	return r.position(call.Program, pool, addresses[3])
}

// withdraw reads what comes back: to nobody but the signer.
func (r *reading) withdraw(call chain.Call, addresses []chain.Address) error {
	pool, mint := addresses[1], addresses[4]
	tokens, err := chain.TokenAddress(r.intent.Signer, mint)
	if err != nil || tokens != addresses[5] {
		return errors.New("a withdrawal to another token account")
	}
	r.intent.Kind, r.intent.Account, r.intent.Mint = KindWithdraw, pool, mint
	return r.position(call.Program, pool, addresses[2])
}

// position refuses another position than the signer's.
func (r *reading) position(program, pool, position chain.Address) error {
	own, err := positionOf(program, pool, r.intent.Signer)
	if err != nil || own.address != position {
		return errors.New("a position that is not the signer's")
	}
	return nil
}

// slash reads the steps of a slash: none takes anything from its signer's wallet.
func (r *reading) slash(call chain.Call, addresses []chain.Address) error {
	switch call.Data[0] {
	case opProposeSlash:
		r.intent.Kind, r.intent.Account = KindProposeSlash, addresses[2]
		r.intent.Amount = money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	case opAppeal:
		r.intent.Kind, r.intent.Account = KindAppeal, addresses[1]
	case opExecuteSlash:
		r.intent.Kind, r.intent.Account, r.intent.Mint = KindExecuteSlash, addresses[1], addresses[3]
	case opDropSlash:
		r.intent.Kind, r.intent.Account = KindDropSlash, addresses[2]
	default:
		return fmt.Errorf("instruction %d", call.Data[0])
	}
	return nil
}

// reward reads what is done with rewards: it costs rents.
func (r *reading) reward(call chain.Call, addresses []chain.Address) error {
	switch call.Data[0] {
	case opCreateRewards:
		r.intent.Kind, r.intent.Account, r.intent.Mint = KindCreateRewards, addresses[2], addresses[4]
		if err := r.cost.Rent(rewardsSize); err != nil {
			return err
		}
		return r.cost.Rent(chain.TokenAccountSize)
	case opPostRewards:
		r.intent.Kind, r.intent.Account = KindPostRewards, addresses[2]
		return nil
	default:
		const head = 10 // number, amount, bump
		if proof := len(call.Data) - head; proof < 0 || proof%len(Digest{}) != 0 || proof > MaxProof*len(Digest{}) {
			return errors.New("a proof in another form")
		}
		r.intent.Kind, r.intent.Account, r.intent.Mint = KindClaimReward, addresses[1], addresses[6]
		return r.cost.Rent(receiptSize)
	}
}

// finish adds what the chain itself charges.
func (r *reading) finish() error {
	if r.intent.Kind == "" {
		return errors.New("it does nothing with stakes or rewards")
	}
	lamports, err := r.cost.Total(1)
	r.intent.Lamports = money.Amount(lamports)
	return err
}
