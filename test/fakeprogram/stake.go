// SPDX-License-Identifier: Apache-2.0

package fakeprogram

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
)

// Sizes, markers and times of the accounts that stakes have.
const (
	poolSize, positionSize = 288, 104
	markPool, markPosition = "bourse2\x20", "bourse2\x21"
	version                = 2
	capPeriod              = 30 * 86_400
	calmPeriod             = 86_400
	wholeBps               = 10_000
)

// The places of what stakes need in a configuration's record.
const (
	configSize      = 272
	configAuthority = 8
	configMint      = 40
	configDecimals  = 84
	configTerms     = 88
	termsArbiter    = configTerms + 32
	termsMaxSlash   = configTerms + 70
	termsDelegation = configTerms + 72
	termsWindow     = configTerms + 80
	termsHold       = configTerms + 84
	termsCooldown   = configTerms + 88
)

// InstallStakes adds the program with its instructions for stakes, by the clock. They move tokens as the real program does, and keep
// its rules; the suite in internal/stake holds both to the same story.
func InstallStakes(on *chaintest.Fake, program chain.Address, now func() time.Time) {
	Install(on, program)
	on.Program(program, func(call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
		if call.Data[0] < 16 {
			return run(now().Unix(), call, accounts)
		}
		code := (&stakeCall{call: call, accounts: accounts, now: now().Unix()}).run()
		if code != 0 {
			return refused(code)
		}
		return nil
	})
}

// record is an account's data with its fields by offset.
type record []byte

func (r record) u64(at int) uint64        { return binary.LittleEndian.Uint64(r[at:]) }
func (r record) put(at int, v uint64)     { binary.LittleEndian.PutUint64(r[at:], v) }
func (r record) add(at int, by uint64)    { r.put(at, r.u64(at)+by) }
func (r record) sub(at int, by uint64)    { r.put(at, r.u64(at)-by) }
func (r record) key(at int) chain.Address { return chain.Address(r[at : at+32]) }
func (r record) bps(at int) uint64        { return uint64(binary.LittleEndian.Uint16(r[at:])) }

func (r record) seconds(at int) uint64 { return uint64(binary.LittleEndian.Uint32(r[at:])) }

func (r record) number() uint32 { return binary.LittleEndian.Uint32(r[slashNumber:]) }

func (r record) is(mark string) bool            { return len(r) > len(mark) && string(r[:len(mark)]) == mark }
func (r record) clear(from, to int)             { clear(r[from:to]) }
func (r record) part(at int, bps uint64) uint64 { return muldiv(r.u64(at), bps, wholeBps, false) }

// The fields of a pool and of a position.
const (
	poolTotal, poolShares, poolOwn, poolUnbonding = 104, 112, 120, 128
	poolSlashed, poolSlashedAt                    = 136, 144
	markTotal, markShares, calmUntil              = 152, 160, 168
	slashAmount, slashProposedAt                  = 176, 184
	appealUntil, decideUntil                      = 192, 200
	slashEvidence, slashArbiter                   = 208, 240
	slashNumber, slashState, slashReason          = 272, 276, 277

	positionShares, positionUnbonding, unlockAt = 72, 80, 88
)

// stakeCall is one instruction on its way through the program.
type stakeCall struct {
	call     chain.Call
	accounts map[chain.Address]chain.Account
	now      int64
}

func (s *stakeCall) run() uint32 {
	switch s.call.Data[0] {
	case 16:
		return s.create()
	case 17:
		return s.bond()
	case 18:
		return s.unbond()
	case 19:
		return s.withdraw()
	case 20:
		return s.propose()
	case 21:
		return s.appeal()
	case 22:
		return s.execute()
	case 23:
		return s.drop()
	default:
		return escrow.CodeArgument
	}
}

// load returns a copy of an account's record, nil if it has another marker.
func (s *stakeCall) load(index int, mark string) record {
	data := record(s.accounts[s.call.Accounts[index]].Data)
	if !data.is(mark) {
		return nil
	}
	return append(record(nil), data...)
}

func (s *stakeCall) store(index int, owner chain.Address, data record) {
	address := s.call.Accounts[index]
	s.accounts[address] = chain.Account{Address: address, Exists: true, Owner: owner, Lamports: rent, Data: data}
}

// config is the second account of every instruction that has one.
func (s *stakeCall) config() record { return s.load(1, markConfig) }

// move moves base units between two token accounts; a negative index is nobody's.
func (s *stakeCall) move(from, to int, amount uint64) bool {
	if from >= 0 {
		tokens := append(record(nil), s.accounts[s.call.Accounts[from]].Data...)
		if len(tokens) != vaultSize || tokens.u64(64) < amount {
			return false
		}
		tokens.sub(64, amount)
		s.store(from, chain.TokenProgram, tokens)
	}
	if to >= 0 {
		tokens := append(record(nil), s.accounts[s.call.Accounts[to]].Data...)
		if len(tokens) != vaultSize {
			return false
		}
		tokens.add(64, amount)
		s.store(to, chain.TokenProgram, tokens)
	}
	return true
}

func (s *stakeCall) create() uint32 {
	config := s.config()
	if config == nil || s.load(2, markPool) != nil {
		return escrow.CodeState
	}
	pool := make(record, poolSize)
	copy(pool, markPool)
	copy(pool[8:], s.call.Accounts[1][:])
	copy(pool[40:], s.call.Accounts[0][:])
	copy(pool[72:], config[configMint:configMint+32])
	pool[278], pool[279], pool[280], pool[281] = config[configDecimals], s.call.Data[1], s.call.Data[2], version
	s.store(2, s.call.Program, pool)
	s.store(3, chain.TokenProgram, Tokens(config.key(configMint), s.call.Accounts[2], 0))
	return 0
}

func (s *stakeCall) bond() uint32 {
	config, pool, amount := s.config(), s.load(2, markPool), binary.LittleEndian.Uint64(s.call.Data[1:])
	if config == nil || pool == nil {
		return escrow.CodeOwner
	}
	held := s.load(3, markPosition)
	if held == nil {
		held = make(record, positionSize)
		copy(held, markPosition)
		copy(held[8:], s.call.Accounts[2][:])
		copy(held[40:], s.call.Accounts[0][:])
		held[96], held[97] = s.call.Data[9], version
	}
	shares := amount
	if pool.u64(poolShares) > 0 {
		shares = muldiv(amount, pool.u64(poolShares), pool.u64(poolTotal), false)
	}
	held.add(positionShares, shares)
	pool.add(poolShares, shares)
	pool.add(poolTotal, amount)
	if s.call.Accounts[0] == pool.key(40) {
		pool.add(poolOwn, shares)
	} else {
		if pool[slashState] != 0 {
			return escrow.CodeHeld
		}
		delegated := pool.u64(poolShares) - pool.u64(poolUnbonding) - pool.u64(poolOwn)
		if delegated > pool.part(poolOwn, config.bps(termsDelegation)) {
			return escrow.CodeCap
		}
	}
	if !s.move(6, 4, amount) {
		return 1 // the Token program's: insufficient funds
	}
	s.store(2, s.call.Program, pool)
	s.store(3, s.call.Program, held)
	return 0
}

func (s *stakeCall) unbond() uint32 {
	config, pool, held := s.config(), s.load(2, markPool), s.load(3, markPosition)
	if config == nil || pool == nil || held == nil {
		return escrow.CodeOwner
	}
	shares := binary.LittleEndian.Uint64(s.call.Data[1:])
	if shares == 0 || shares > held.u64(positionShares) {
		return escrow.CodeAmount
	}
	held.sub(positionShares, shares)
	held.add(positionUnbonding, shares)
	held.put(unlockAt, max(held.u64(unlockAt), uint64(s.now)+config.seconds(termsCooldown)))
	pool.add(poolUnbonding, shares)
	if s.call.Accounts[0] == pool.key(40) {
		pool.sub(poolOwn, shares)
	}
	s.store(2, s.call.Program, pool)
	s.store(3, s.call.Program, held)
	return 0
}

func (s *stakeCall) withdraw() uint32 {
	pool, held := s.load(1, markPool), s.load(2, markPosition)
	switch {
	case pool == nil || held == nil:
		return escrow.CodeOwner
	case held.u64(positionUnbonding) == 0:
		return escrow.CodeAmount
	case uint64(s.now) < held.u64(unlockAt):
		return escrow.CodeTime
	case pool[slashState] != 0:
		return escrow.CodeHeld
	}
	shares := held.u64(positionUnbonding)
	due := muldiv(shares, pool.u64(poolTotal), pool.u64(poolShares), false)
	pool.sub(poolTotal, due)
	pool.sub(poolShares, shares)
	pool.sub(poolUnbonding, shares)
	if pool.u64(poolShares) == 0 {
		pool.clear(markTotal, calmUntil)
	}
	held.clear(positionUnbonding, unlockAt+8)
	if !s.move(3, 5, due) {
		return escrow.CodeParty
	}
	s.store(1, s.call.Program, pool)
	s.store(2, s.call.Program, held)
	return 0
}

func (s *stakeCall) propose() uint32 {
	config, pool, amount := s.config(), s.load(2, markPool), binary.LittleEndian.Uint64(s.call.Data[1:])
	switch {
	case config == nil || pool == nil:
		return escrow.CodeOwner
	case s.call.Accounts[0] != config.key(configAuthority):
		return escrow.CodeSigner
	case pool[slashState] != 0:
		return escrow.CodeHeld
	case uint64(s.now) < pool.u64(calmUntil):
		return escrow.CodeTime
	case amount == 0 || amount >= pool.u64(poolTotal):
		return escrow.CodeAmount
	}
	if pool.u64(markShares) == 0 || uint64(s.now) >= pool.u64(poolSlashedAt)+capPeriod {
		pool.put(markTotal, pool.u64(poolTotal))
		pool.put(markShares, pool.u64(poolShares))
	}
	keep := pool.u64(markTotal) - pool.part(markTotal, config.bps(termsMaxSlash))
	if pool.u64(poolTotal)-amount < muldiv(pool.u64(poolShares), keep, pool.u64(markShares), true) {
		return escrow.CodeCap
	}
	window := uint64(s.now) + config.seconds(termsWindow)
	for at, value := range map[int]uint64{
		slashAmount: amount, slashProposedAt: uint64(s.now), appealUntil: window, decideUntil: window + config.seconds(termsHold),
	} {
		pool.put(at, value)
	}
	copy(pool[slashEvidence:], s.call.Data[10:42])
	copy(pool[slashArbiter:], config[termsArbiter:termsArbiter+32])
	binary.LittleEndian.PutUint32(pool[slashNumber:], pool.number()+1)
	pool[slashState], pool[slashReason] = 1, s.call.Data[9]
	s.store(2, s.call.Program, pool)
	return 0
}

func (s *stakeCall) appeal() uint32 {
	pool := s.load(1, markPool)
	switch {
	case pool == nil:
		return escrow.CodeOwner
	case s.call.Accounts[0] != pool.key(40):
		return escrow.CodeSigner
	case pool[slashState] != 1 || !s.names(pool):
		return escrow.CodeState
	case uint64(s.now) >= pool.u64(appealUntil):
		return escrow.CodeTime
	}
	pool[slashState] = 2
	s.store(1, s.call.Program, pool)
	return 0
}

func (s *stakeCall) execute() uint32 {
	pool := s.load(1, markPool)
	switch {
	case pool == nil:
		return escrow.CodeOwner
	case pool[slashState] == 0 || !s.names(pool):
		return escrow.CodeState
	case uint64(s.now) >= pool.u64(decideUntil):
		return escrow.CodeTime
	case pool[slashState] == 2 && s.call.Accounts[0] != pool.key(slashArbiter):
		return escrow.CodeSigner
	case pool[slashState] == 1 && uint64(s.now) < pool.u64(appealUntil):
		return escrow.CodeTime
	}
	amount := pool.u64(slashAmount)
	pool.sub(poolTotal, amount)
	pool.add(poolSlashed, amount)
	pool.put(poolSlashedAt, uint64(s.now))
	s.end(pool)
	if !s.move(2, -1, amount) {
		return escrow.CodeState
	}
	s.store(1, s.call.Program, pool)
	return 0
}

func (s *stakeCall) drop() uint32 {
	config, pool := s.config(), s.load(2, markPool)
	switch {
	case config == nil || pool == nil:
		return escrow.CodeOwner
	case pool[slashState] == 0 || !s.names(pool):
		return escrow.CodeState
	}
	by := s.call.Accounts[0]
	decides := by == config.key(configAuthority) || pool[slashState] == 2 && by == pool.key(slashArbiter)
	if !decides && uint64(s.now) < pool.u64(decideUntil) {
		return escrow.CodeTime
	}
	s.end(pool)
	s.store(2, s.call.Program, pool)
	return 0
}

// names says whether the instruction names the pool's pending slash.
func (s *stakeCall) names(pool record) bool {
	return binary.LittleEndian.Uint32(s.call.Data[1:]) == pool.number()
}

func (s *stakeCall) end(pool record) {
	pool.clear(slashAmount, slashNumber)
	pool[slashState], pool[slashReason] = 0, 0
	pool.put(calmUntil, uint64(s.now)+calmPeriod)
}

func muldiv(a, b, c uint64, up bool) uint64 {
	high, low := bits.Mul64(a, b)
	quotient, rest := bits.Div64(high, low, c)
	if up && rest > 0 {
		quotient++
	}
	return quotient
}

// Tokens returns the data of a token account that holds an amount.
func Tokens(mint, owner chain.Address, amount uint64) []byte {
	data := make(record, vaultSize)
	copy(data, mint[:])
	copy(data[32:], owner[:])
	data.put(64, amount)
	data[108] = 1
	return data
}
