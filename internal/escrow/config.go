// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Layout of the configuration account.
const (
	configSize = 272
	termsSize  = 92
	markConfig = "bourse2\x10"
)

// Bounds that the program sets to a configuration.
const (
	maxSlashWindow   = 30 * 24 * time.Hour
	maxCooldown      = 90 * 24 * time.Hour
	minSlashWindow   = time.Hour // of a market that slashes at all
	minConfigDelay   = time.Hour
	maxConfigDelay   = 365 * 24 * time.Hour
	maxSlashBps      = 10_000
	maxDelegationBps = 10_000
)

// ErrConfig says that a configuration could not be one at all.
var ErrConfig = errors.New("invalid configuration")

// ConfigTerms is what a market may ask of strangers: to whom fees go, who judges, and the most of either. Times are whole seconds.
type ConfigTerms struct {
	Treasury          chain.Address
	Arbiter           chain.Address // zero: there is no arbitration
	MaxBuyerFeeBps    uint16
	MaxSupplierFeeBps uint16
	MaxArbiterCapBps  uint16 // of a deposit
	MaxSlashBps       uint16 // of a pool, in 30 days
	MaxDelegationBps  uint16 // of a pool owner's own stake
	MinDisputeDelay   time.Duration
	SlashWindow       time.Duration // in which a slash may be appealed
	SlashHold         time.Duration // how long an appeal holds
	Cooldown          time.Duration // before unbonded stake can be withdrawn
}

// Config is a market's configuration as it is made: who controls it, what stakes are in, and how long each change is announced.
type Config struct {
	Program   chain.Address
	Authority chain.Address
	Mint      chain.Address
	Delay     time.Duration
	Terms     ConfigTerms
}

// ConfigFacts is what a configuration on the chain says.
type ConfigFacts struct {
	Address   chain.Address
	Authority chain.Address
	Mint      chain.Address
	Decimals  uint8 // the mint's
	Delay     time.Duration
	Current   ConfigTerms
	Pending   ConfigTerms // the current ones if nothing is announced
	ChangeAt  time.Time   // when the pending terms can be put into force; zero if nothing is announced
	Slot      uint64      // when this was so
}

// ConfigAddress returns where the configuration of an authority is, and its bump. Each authority has one.
func ConfigAddress(program, authority chain.Address) (chain.Address, uint8, error) {
	return chain.Derive(program, []byte("config"), authority[:])
}

// Validate says whether the program could accept the terms.
func (t ConfigTerms) Validate() error {
	fees := money.Fees{BuyerBps: t.MaxBuyerFeeBps, SupplierBps: t.MaxSupplierFeeBps}
	if err := fees.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	switch {
	case t.Treasury.IsZero():
		return fmt.Errorf("%w: treasury is missing", ErrConfig)
	case t.MaxArbiterCapBps > 0 && t.Arbiter.IsZero():
		return fmt.Errorf("%w: arbiter is missing", ErrConfig)
	case t.MaxArbiterCapBps > maxArbiterCapBps, t.MaxSlashBps > maxSlashBps, t.MaxDelegationBps > maxDelegationBps:
		return fmt.Errorf("%w: a cap exceeds what the program allows", ErrConfig)
	}
	return t.validateTimes()
}

// validateTimes refuses times beyond what the program allows. Whoever can be slashed must have the time to appeal.
func (t ConfigTerms) validateTimes() error {
	appeal := time.Duration(0)
	if t.MaxSlashBps > 0 {
		appeal = minSlashWindow
	}
	for _, bound := range []struct {
		name            string
		of, least, most time.Duration
	}{
		{"dispute's delay", t.MinDisputeDelay, 0, maxDisputeDelay},
		{"slash window", t.SlashWindow, appeal, maxSlashWindow},
		{"slash hold", t.SlashHold, appeal, maxSlashWindow},
		{"cooldown", t.Cooldown, 0, maxCooldown},
	} {
		if bound.of < bound.least || bound.of > bound.most || bound.of%time.Second != 0 {
			return fmt.Errorf("%w: %s of %s is not %s to %s in whole seconds", ErrConfig, bound.name, bound.of, bound.least, bound.most)
		}
	}
	return nil
}

// bytes lays the terms out as the account and the instructions hold them.
func (t ConfigTerms) bytes() []byte {
	data := append(t.Treasury.Bytes(), t.Arbiter[:]...)
	for _, bps := range []uint16{
		t.MaxBuyerFeeBps, t.MaxSupplierFeeBps, t.MaxArbiterCapBps, t.MaxSlashBps, t.MaxDelegationBps, 0,
	} {
		data = binary.LittleEndian.AppendUint16(data, bps)
	}
	for _, delay := range []time.Duration{t.MinDisputeDelay, t.SlashWindow, t.SlashHold, t.Cooldown} {
		data = binary.LittleEndian.AppendUint32(data, seconds(delay))
	}
	return data
}

// terms reads what bytes wrote, or false if the spare bytes are not zero.
func (f *fields) terms() (ConfigTerms, bool) {
	read := ConfigTerms{
		Treasury: f.key(), Arbiter: f.key(), MaxBuyerFeeBps: f.uint16(), MaxSupplierFeeBps: f.uint16(),
		MaxArbiterCapBps: f.uint16(), MaxSlashBps: f.uint16(), MaxDelegationBps: f.uint16(),
	}
	spare := f.uint16()
	read.MinDisputeDelay, read.SlashWindow, read.SlashHold, read.Cooldown = f.seconds(), f.seconds(), f.seconds(), f.seconds()
	return read, spare == 0
}

// CreateConfig returns the instruction by which an authority makes its configuration, once.
func CreateConfig(c Config) ([]chain.Instruction, error) {
	if err := c.Terms.Validate(); err != nil {
		return nil, fmt.Errorf("build configuration: %w", err)
	}
	if c.Delay < minConfigDelay || c.Delay > maxConfigDelay || c.Delay%time.Second != 0 {
		return nil, fmt.Errorf("build configuration: %w: a time lock of %s is not 1 hour to 365 days", ErrConfig, c.Delay)
	}
	address, bump, err := ConfigAddress(c.Program, c.Authority)
	if err != nil {
		return nil, fmt.Errorf("build configuration: %w", err)
	}
	data := binary.LittleEndian.AppendUint32([]byte{opCreateConfig}, seconds(c.Delay))
	data = append(append(data, c.Terms.bytes()...), bump)
	return []chain.Instruction{instruction(c.Program, data, c.Authority, address, c.Mint)}, nil
}

// ProposeConfig returns the instruction by which an authority announces other terms, which can be put into force after the
// configuration's delay. To announce the current ones takes an announcement back.
func ProposeConfig(program, authority chain.Address, terms ConfigTerms) ([]chain.Instruction, error) {
	if err := terms.Validate(); err != nil {
		return nil, fmt.Errorf("build proposal: %w", err)
	}
	address, _, err := ConfigAddress(program, authority)
	if err != nil {
		return nil, fmt.Errorf("build proposal: %w", err)
	}
	return []chain.Instruction{instruction(program, append([]byte{opProposeConfig}, terms.bytes()...), authority, address)}, nil
}

// ApplyConfig returns the instruction by which anybody puts announced terms into force once their time has come.
func ApplyConfig(program, authority chain.Address) ([]chain.Instruction, error) {
	address, _, err := ConfigAddress(program, authority)
	if err != nil {
		return nil, fmt.Errorf("build change of configuration: %w", err)
	}
	return []chain.Instruction{instruction(program, []byte{opApplyConfig}, address)}, nil
}

// VerifyConfig says what an authority's configuration is, or refuses an account that is not exactly one.
func VerifyConfig(program, authority chain.Address, account chain.Account) (ConfigFacts, error) {
	address, bump, err := ConfigAddress(program, authority)
	if err != nil {
		return ConfigFacts{}, fmt.Errorf("verify configuration: %w", err)
	}
	in, err := openConfig(program, address, account)
	if err != nil {
		return ConfigFacts{}, err
	}
	facts := ConfigFacts{Address: address, Authority: in.key(), Mint: in.key(), Slot: account.Slot}
	changeAt := in.int64()
	facts.Delay, facts.Decimals = in.seconds(), in.byte()
	foundBump, version, spare := in.byte(), in.byte(), in.byte()
	current, okCurrent := in.terms()
	pending, okPending := in.terms()
	if foundBump != bump || version != layout || spare != 0 || !okCurrent || !okPending {
		return ConfigFacts{}, refuse(WrongLayout, "configuration %s has layout %d or uses reserved bytes", address, version)
	}
	if facts.Authority != authority || changeAt < 0 || changeAt == 0 && pending != current {
		return ConfigFacts{}, refuse(Inconsistent, "configuration %s says what the program never writes", address)
	}
	facts.Current, facts.Pending, facts.ChangeAt = current, pending, moment(changeAt)
	return facts, nil
}

// moment reads the program's seconds, of which zero is no time at all.
func moment(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// openConfig refuses an account that is no configuration of the program at the address, and returns what follows its marker.
func openConfig(program, address chain.Address, account chain.Account) (fields, error) {
	switch {
	case account.Address != address:
		return fields{}, refuse(WrongAddress, "configuration %s instead of %s", account.Address, address)
	case !account.Exists || account.Owner == chain.SystemProgram && len(account.Data) == 0:
		return fields{}, refuse(Absent, "no configuration at %s", address)
	case account.Owner != program:
		return fields{}, refuse(WrongOwner, "%s belongs to %s instead of %s", address, account.Owner, program)
	case len(account.Data) != configSize:
		return fields{}, refuse(WrongLayout, "configuration %s has %d bytes", address, len(account.Data))
	}
	in := fields{account.Data}
	if mark := string(in.take(len(markConfig))); mark != markConfig {
		return fields{}, refuse(WrongLayout, "configuration %s has the marker %x", address, mark)
	}
	return in, nil
}

// Allows refuses a lease's terms that the market's current configuration does not allow, naming the first field that it refuses.
func (f ConfigFacts) Allows(t Terms) error {
	now := f.Current
	switch {
	case t.Config != f.Address:
		return refuse(WrongConfig, "the configuration is %s instead of %s", f.Address, t.Config)
	case t.Treasury != now.Treasury:
		return refuse(WrongConfig, "the treasury is %s instead of %s", now.Treasury, t.Treasury)
	case t.Fees.BuyerBps > now.MaxBuyerFeeBps:
		return refuse(WrongConfig, "the buyer's fee is at most %d bps instead of %d", now.MaxBuyerFeeBps, t.Fees.BuyerBps)
	case t.Fees.SupplierBps > now.MaxSupplierFeeBps:
		return refuse(WrongConfig, "the supplier's fee is at most %d bps instead of %d", now.MaxSupplierFeeBps, t.Fees.SupplierBps)
	case t.ArbiterCapBps == 0:
		return nil
	case t.Arbiter != now.Arbiter:
		return refuse(WrongConfig, "the arbiter is %s instead of %s", now.Arbiter, t.Arbiter)
	case t.ArbiterCapBps > now.MaxArbiterCapBps:
		return refuse(WrongConfig, "the arbiter's cap is at most %d bps instead of %d", now.MaxArbiterCapBps, t.ArbiterCapBps)
	case t.DisputeDelay < now.MinDisputeDelay:
		return refuse(WrongConfig, "a dispute's delay is at least %s instead of %s", now.MinDisputeDelay, t.DisputeDelay)
	}
	return nil
}
