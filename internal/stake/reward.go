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

func (r Rewards) receipt(wallet chain.Address) (place, error) {
	account, err := r.account()
	if err != nil {
		return place{}, err
	}
	return derive("receipt", r.Program, []byte("reward"), account.address[:], wallet[:])
}

// CreateRewards returns the instructions by which the market's authority makes the rewards account.
func CreateRewards(r Rewards, authority chain.Address) ([]chain.Instruction, error) {
	account, err := r.account()
	if err != nil {
		return nil, fmt.Errorf("build rewards: %w", err)
	}
	vault, err := r.vault()
	if err != nil {
		return nil, fmt.Errorf("build rewards: %w", err)
	}
	data := []byte{opCreateRewards, account.bump, vault.bump}
	return []chain.Instruction{instruction(r.Program, data, authority, r.Config, account.address, vault.address, r.Mint)}, nil
}

// PostRewards returns the instructions by which the market's authority puts the next epoch's tree in the place of the last one's.
func PostRewards(r Rewards, authority chain.Address, epoch uint64, tree *Tree) ([]chain.Instruction, error) {
	account, err := r.account()
	if err != nil {
		return nil, fmt.Errorf("build post: %w", err)
	}
	vault, err := r.vault()
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
	account, err := r.account()
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	vault, err := r.vault()
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	receipt, err := r.receipt(reward.Wallet)
	if err != nil {
		return nil, fmt.Errorf("build claim of reward: %w", err)
	}
	tokens, create, err := tokensOf(submitter, reward.Wallet, r.Mint)
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
	at, err := r.account()
	if err != nil {
		return RewardsFacts{}, err
	}
	vaultAt, err := r.vault()
	if err != nil {
		return RewardsFacts{}, err
	}
	in, err := open("rewards account", r.Program, at, account, rewardsSize, markRewards)
	if err != nil {
		return RewardsFacts{}, err
	}
	if err := belongs("rewards account", "configuration", in.key(), r.Config); err != nil {
		return RewardsFacts{}, err
	}
	if err := belongs("rewards account", "mint", in.key(), r.Mint); err != nil {
		return RewardsFacts{}, err
	}
	facts := RewardsFacts{Account: at.address, Root: Digest(in.key()), Epoch: in.uint64(), Total: in.amount(), Claimed: in.amount(), Slot: account.Slot}
	in.byte() // the mint's decimals
	bump, vaultBump, version := in.byte(), in.byte(), in.byte()
	if bump != at.bump || vaultBump != vaultAt.bump || version != layout || !in.zero() {
		return RewardsFacts{}, refuse(escrow.WrongLayout, "rewards account %s has layout %d, or uses reserved bytes", at.address, version)
	}
	if err := facts.checkVault(vaultAt.address, vault, r.Mint); err != nil {
		return RewardsFacts{}, err
	}
	return facts, nil
}

// checkVault refuses a vault that is not the rewards' own, or that holds less than can be claimed.
func (f *RewardsFacts) checkVault(at chain.Address, vault chain.Account, mint chain.Address) error {
	if vault.Address != at {
		return refuse(escrow.WrongAddress, "vault %s instead of %s", vault.Address, at)
	}
	var err error
	if f.Balance, err = vaultBalance(vault, mint, f.Account); err != nil {
		return err
	}
	if f.Claimed > f.Total || f.Balance < f.Total-f.Claimed {
		return refuse(escrow.Underfunded, "vault %s holds %s for %s less %s", at, f.Balance, f.Total, f.Claimed)
	}
	return nil
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
