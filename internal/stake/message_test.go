// SPDX-License-Identifier: Apache-2.0

package stake_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
)

// offered is a message that this package's builders make, and what it would do.
type offered struct {
	by           *signer.Keypair
	instructions []chain.Instruction
	want         stake.Intent
}

// rents of the accounts, as the chain computes them.
const (
	fee          = 5_000
	rentPool     = 2_895_360
	rentVault    = 2_039_280
	rentPosition = 1_614_720
	rentRewards  = 1_837_440
	rentReceipt  = 1_503_360
)

func offers(t *testing.T) map[string]offered {
	t.Helper()
	var problems []error
	built := func(instructions []chain.Instruction, err error) []chain.Instruction {
		problems = append(problems, err)
		return instructions
	}
	owner, other, authority := wallet("owner"), wallet("delegator"), wallet("authority")
	program, config, mint := wallet("program").PublicKey(), wallet("config").PublicKey(), wallet("mint").PublicKey()
	p := stake.Pool{Program: program, Config: config, Owner: owner.PublicKey(), Mint: mint}
	r := stake.Rewards{Program: program, Config: config, Mint: mint}
	pool, err := p.Account()
	problems = append(problems, err)
	rewards, err := r.Account()
	problems = append(problems, err)
	tree, err := stake.NewTree(rewards, []stake.Reward{{Wallet: other.PublicKey(), Cumulative: 7}, {Wallet: owner.PublicKey(), Cumulative: 5}})
	problems = append(problems, err)
	reward, proof, _ := tree.Prove(other.PublicKey())
	create, own := built(stake.CreatePool(p)), built(stake.Bond(p, owner.PublicKey(), 1_000))
	stranger := other.PublicKey()
	all := map[string]offered{
		"making a pool":             {owner, create, intent(stake.KindCreatePool, mint, 0, fee+rentPool+rentVault)},
		"making a pool with a bond": {owner, append(create[:1:1], own...), intent(stake.KindBond, mint, 1_000, fee+rentPool+rentVault+rentPosition)},
		"a bond":                    {owner, own, intent(stake.KindBond, mint, 1_000, fee+rentPosition)},
		"a delegation":              {other, built(stake.Bond(p, stranger, 5)), intent(stake.KindBond, mint, 5, fee+rentPosition)},
		"unbonding":                 {other, built(stake.Unbond(p, stranger, 5)), intent(stake.KindUnbond, chain.Address{}, 0, fee)},
		"a withdrawal":              {other, built(stake.Withdraw(p, stranger)), intent(stake.KindWithdraw, mint, 0, fee+rentVault)},
		"a slash": {
			authority, built(stake.ProposeSlash(p, authority.PublicKey(), 9, stake.Counterfeit, stake.Evidence{1})),
			intent(stake.KindProposeSlash, chain.Address{}, 0, fee),
		},
		"an appeal":    {owner, built(stake.Appeal(p, 3)), intent(stake.KindAppeal, chain.Address{}, 0, fee)},
		"an execution": {other, built(stake.ExecuteSlash(p, stranger, 3)), intent(stake.KindExecuteSlash, mint, 0, fee)},
		"a drop":       {other, built(stake.DropSlash(p, stranger, 3)), intent(stake.KindDropSlash, chain.Address{}, 0, fee)},
		"making rewards": {
			authority, built(stake.CreateRewards(r, authority.PublicKey())), intent(stake.KindCreateRewards, mint, 0, fee+rentRewards+rentVault),
		},
		"posting rewards": {
			authority, built(stake.PostRewards(r, authority.PublicKey(), 1, tree)), intent(stake.KindPostRewards, chain.Address{}, 0, fee),
		},
		"claiming a reward": {
			owner, built(stake.ClaimReward(r, owner.PublicKey(), reward, proof)), intent(stake.KindClaimReward, mint, 0, fee+rentReceipt+rentVault),
		},
	}
	if err := errors.Join(problems...); err != nil {
		t.Fatal(err)
	}
	for name, one := range all {
		one.want.Program, one.want.Signer, one.want.Account = program, one.by.PublicKey(), pool
		switch one.want.Kind {
		case stake.KindCreateRewards, stake.KindPostRewards, stake.KindClaimReward:
			one.want.Account = rewards
		case stake.KindProposeSlash:
			one.want.Amount = 9
		default: // of a pool, and nothing is lost
		}
		all[name] = one
	}
	return all
}

func intent(kind stake.Kind, mint chain.Address, tokens, lamports money.Amount) stake.Intent {
	return stake.Intent{Kind: kind, Mint: mint, Tokens: tokens, Lamports: lamports}
}

func compile(t *testing.T, one offered) []byte {
	t.Helper()
	message, err := chain.CompileMessage(one.by.PublicKey(), one.instructions, chain.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestWhatIsBuiltIsRead(t *testing.T) {
	for name, one := range offers(t) {
		t.Run(name, func(t *testing.T) {
			got, err := stake.ReadMessage(compile(t, one), one.want.Program)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(one.want, got); diff != "" {
				t.Errorf("intent (-want +got):\n%s", diff)
			}
			one.instructions = append([]chain.Instruction{chain.ComputeLimit(1_000_000)}, one.instructions...)
			if got, err = stake.ReadMessage(compile(t, one), one.want.Program); err != nil || got != one.want {
				t.Errorf("behind a compute limit: %+v, %v", got, err)
			}
		})
	}
}

// A message of which one byte differs either is refused or does nothing worse than it says.
func TestAChangedMessageIsRefusedOrReadAsWhatItIs(t *testing.T) {
	for name, one := range offers(t) {
		message := compile(t, one)
		for i := range message {
			for _, flip := range []byte{1, 0x80} {
				changed := append([]byte(nil), message...)
				changed[i] ^= flip
				got, err := stake.ReadMessage(changed, one.want.Program)
				if err != nil {
					if !errors.Is(err, stake.ErrMessage) {
						t.Fatalf("%s, byte %d: %v is no refusal", name, i, err)
					}
					continue
				}
				envelope, err := chain.NewEnvelope(changed)
				if err != nil || got.Signer != envelope.Signers()[0] || got.Program != one.want.Program {
					t.Errorf("%s, byte %d: read as %+v (%v)", name, i, got, err)
				}
			}
		}
	}
}

func TestWhatIsNotBuiltIsRefused(t *testing.T) {
	all := offers(t)
	bond, unbond, pool := all["a bond"], all["unbonding"], all["making a pool"]
	elsewhere := bond.want.Program
	elsewhere[0]++
	edit := func(one offered, change func(*chain.Instruction)) offered {
		last := one.instructions[len(one.instructions)-1]
		last.Accounts = append([]chain.Meta(nil), last.Accounts...)
		last.Data = append([]byte(nil), last.Data...)
		change(&last)
		one.instructions = append(one.instructions[:len(one.instructions)-1:len(one.instructions)-1], last)
		return one
	}
	stranger := wallet("stranger").PublicKey()
	cases := map[string]offered{
		"another program":           edit(bond, func(i *chain.Instruction) { i.Program = elsewhere }),
		"two bonds":                 {by: bond.by, instructions: append(bond.instructions[:1:1], bond.instructions...)},
		"a bond before its pool":    {by: bond.by, instructions: append(bond.instructions[:1:1], pool.instructions...)},
		"a bond and an unbond":      {by: bond.by, instructions: append(bond.instructions[:1:1], unbond.instructions...)},
		"a bond into a purse":       edit(bond, func(i *chain.Instruction) { i.Accounts[4].Address = stranger }),
		"a bond from elsewhere":     edit(bond, func(i *chain.Instruction) { i.Accounts[6].Address = stranger }),
		"a bond for somebody":       edit(bond, func(i *chain.Instruction) { i.Accounts[3].Address = stranger }),
		"a withdrawal to a thief":   edit(all["a withdrawal"], func(i *chain.Instruction) { i.Accounts[5].Address = stranger }),
		"unbonding for somebody":    edit(unbond, func(i *chain.Instruction) { i.Accounts[3].Address = stranger }),
		"a writable mint":           edit(bond, func(i *chain.Instruction) { i.Accounts[5].Writable = true }),
		"surplus data":              edit(bond, func(i *chain.Instruction) { i.Data = append(i.Data, 0) }),
		"an unknown instruction":    edit(bond, func(i *chain.Instruction) { i.Data[0] = 24 }),
		"no data":                   edit(bond, func(i *chain.Instruction) { i.Data = nil }),
		"another token program":     edit(bond, func(i *chain.Instruction) { i.Accounts[8].Address = chain.Token2022Program }),
		"a pool at another address": edit(pool, func(i *chain.Instruction) { i.Accounts[2].Address = stranger }),
		"a torn proof":              edit(all["claiming a reward"], func(i *chain.Instruction) { i.Data = i.Data[:len(i.Data)-1] }),
		"a compute limit alone":     {by: bond.by, instructions: []chain.Instruction{chain.ComputeLimit(1)}},
		"a compute limit last":      {by: bond.by, instructions: append(bond.instructions[:1:1], chain.ComputeLimit(1))},
		"two compute limits":        {by: bond.by, instructions: append([]chain.Instruction{chain.ComputeLimit(1), chain.ComputeLimit(1)}, bond.instructions...)},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := stake.ReadMessage(compile(t, one), bond.want.Program); !errors.Is(err, stake.ErrMessage) {
				t.Errorf("read as %+v (%v)", got, err)
			}
		})
	}
	for name, message := range map[string][]byte{"nothing": nil, "noise": []byte("hello"), "a voucher": []byte("bourse2 and more")} {
		if _, err := stake.ReadMessage(message, bond.want.Program); !errors.Is(err, stake.ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := stake.ReadMessage(compile(t, bond)); !errors.Is(err, stake.ErrMessage) {
		t.Errorf("no program is trusted: %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	program := wallet("program").PublicKey()
	f.Add([]byte{1, 0, 0, 1})
	f.Fuzz(func(t *testing.T, message []byte) {
		if got, err := stake.ReadMessage(message, program); err == nil && (got.Kind == "" || got.Lamports < fee) {
			t.Errorf("read as %+v", got)
		}
	})
}
