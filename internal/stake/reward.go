// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"encoding/binary"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Rewards names a market's rewards, which are paid in its token. With it, every address follows.
type Rewards struct {
	Program chain.Address
	Config  chain.Address // the market's configuration account
	Mint    chain.Address // the configuration's
}

// Account returns where the rewards are, which is also what their leaves name.
func (r Rewards) Account() (chain.Address, error) {
	at, err := r.account()
	return at.address, err
}

// Vault returns where the tokens are that are not claimed yet. Whoever pays rewards sends them here.
func (r Rewards) Vault() (chain.Address, error) {
	at, err := r.vault()
	return at.address, err
}

// Receipt returns where it stands what a wallet has claimed.
func (r Rewards) Receipt(wallet chain.Address) (chain.Address, error) {
	at, err := r.receipt(wallet)
	return at.address, err
}

func (r Rewards) account() (place, error) {
	if r.Program.IsZero() || r.Config.IsZero() || r.Mint.IsZero() {
		return place{}, fmt.Errorf("%w: program, configuration or mint is missing", ErrTerms)
	}
	return derive("rewards", r.Program, []byte("rewards"), r.Config[:])
}

func (r Rewards) vault() (place, error) {
	account, err := r.account()
	if err != nil {
		return place{}, err
	}
	return derive("rewards' vault", r.Program, []byte("rewards-vault"), account.address[:])
}

func (r Rewards) spots() (account, vault place, err error) {
	if account, err = r.account(); err != nil {
		return place{}, place{}, err
	}
	vault, err = r.vault()
	return account, vault, err
}

func (r Rewards) receipt(wallet chain.Address) (place, error) {
	account, err := r.account()
	if err != nil {
		return place{}, err
	}
	return derive("receipt", r.Program, []byte("reward"), account.address[:], wallet[:])
}

// CreateRewards returns the instructions by which the market's authority makes the rewards account.
func CreateRewards(r Rewards, authority chain.Address) ([]chain.Instruction, error) {
	account, vault, err := r.spots()
	if err != nil {
		return nil, fmt.Errorf("build rewards: %w", err)
	}
	data := []byte{opCreateRewards, account.bump, vault.bump}
	return []chain.Instruction{instruction(r.Program, data, authority, r.Config, account.address, vault.address, r.Mint)}, nil
}

// PostRewards returns the instructions by which the market's authority puts the next epoch's tree in the place of the last one's.
func PostRewards(r Rewards, authority chain.Address, epoch uint64, tree *Tree) ([]chain.Instruction, error) {
	account, vault, err := r.spots()
	if err != nil {
		return nil, fmt.Errorf("build post: %w", err)
	}
	root := tree.Root()
	data := binary.LittleEndian.AppendUint64([]byte{opPostRewards}, epoch)
	data = binary.LittleEndian.AppendUint64(data, uint64(tree.Total()))
	data = append(data, root[:]...)
	return []chain.Instruction{instruction(r.Program, data, authority, r.Config, account.address, vault.address)}, nil
}

// ClaimReward returns the instructions by which anybody has a wallet paid what it is owed. The wallet's associated token account is made
// first if it is missing; the submitter pays for that.
func ClaimReward(r Rewards, submitter chain.Address, reward Reward, proof []Digest) ([]chain.Instruction, error) {
	account, vault, err := r.spots()
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	receipt, err := r.receipt(reward.Wallet)
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	tokens, create, err := chain.TokenAccount(submitter, reward.Wallet, r.Mint)
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	if len(proof) > MaxProof {
		return nil, fmt.Errorf("build claim of reward: %w: a proof of %d hashes", ErrTree, len(proof))
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{opClaimReward}, uint64(reward.Cumulative)), receipt.bump)
	for _, hash := range proof {
		data = append(data, hash[:]...)
	}
	addresses := []chain.Address{submitter, account.address, vault.address, receipt.address, reward.Wallet, tokens, r.Mint}
	return []chain.Instruction{create, instruction(r.Program, data, addresses...)}, nil
}

// RewardsFacts is what a rewards account on the chain says of itself.
type RewardsFacts struct {
	Account chain.Address
	Root    Digest
	Epoch   uint64       // of the newest tree; zero if there was none
	Total   money.Amount // what all wallets together can claim in all
	Claimed money.Amount // what they have claimed
	Balance money.Amount // what the vault holds
	Slot    uint64       // when this was so
}

// VerifyRewards says what two accounts, read in one slot, are of the market's rewards, or refuses them.
func VerifyRewards(r Rewards, account, vault chain.Account) (RewardsFacts, error) {
	at, vaultAt, err := r.spots()
	if err != nil {
		return RewardsFacts{}, err
	}
	in, err := open("rewards account", r.Program, at, account, rewardsSize, markRewards)
	if err != nil {
		return RewardsFacts{}, err
	}
	for _, part := range []struct {
		name string
		want chain.Address
	}{{"configuration", r.Config}, {"mint", r.Mint}} {
		if err := belongs("rewards account", part.name, in.key(), part.want); err != nil {
			return RewardsFacts{}, err
		}
	}
	facts := RewardsFacts{Account: at.address, Root: Digest(in.key()), Epoch: in.uint64(), Total: in.amount(), Claimed: in.amount(), Slot: account.Slot}
	in.byte() // the mint's decimals
	bump, vaultBump, version := in.byte(), in.byte(), in.byte()
	if bump != at.bump || vaultBump != vaultAt.bump || version != layout || !in.zero() {
		return RewardsFacts{}, refuse(escrow.WrongLayout, "rewards account %s has layout %d, or uses reserved bytes", at.address, version)
	}
	if facts.Balance, err = vaultBalance(vault, vaultAt, r.Mint, at.address); err != nil {
		return RewardsFacts{}, err
	}
	if facts.Claimed > facts.Total || facts.Balance < facts.Total-facts.Claimed {
		return RewardsFacts{}, refuse(escrow.Underfunded, "vault %s holds %s for %s less %s", vaultAt.address, facts.Balance, facts.Total, facts.Claimed)
	}
	return facts, nil
}

// VerifyReceipt says how much a wallet has claimed in all. It is Absent before the first claim.
func VerifyReceipt(r Rewards, wallet chain.Address, account chain.Account) (money.Amount, error) {
	rewards, err := r.account()
	if err != nil {
		return 0, err
	}
	at, err := r.receipt(wallet)
	if err != nil {
		return 0, err
	}
	in, err := open("receipt", r.Program, at, account, receiptSize, markReceipt)
	if err != nil {
		return 0, err
	}
	if err := belongs("receipt", "rewards account", in.key(), rewards.address); err != nil {
		return 0, err
	}
	if err := belongs("receipt", "wallet", in.key(), wallet); err != nil {
		return 0, err
	}
	claimed, bump, version := in.amount(), in.byte(), in.byte()
	if bump != at.bump || version != layout || !in.zero() {
		return 0, refuse(escrow.WrongLayout, "receipt %s has layout %d, or uses reserved bytes", at.address, version)
	}
	return claimed, nil
}
