// SPDX-License-Identifier: Apache-2.0
//! Rewards claim: a wallet is paid what it has earned and not had yet. Anybody may submit.

use crate::abi::{Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::reward::receipt::{First, Receipt};
use crate::reward::tree::Leaf;
use crate::reward::Rewards;
use crate::system;
use crate::token::{self, Purse};

/// Data: amount u64, what the wallet has earned in all; receipt bump u8; proof, 32 bytes a step.
/// Accounts: 0 submitter (signer, writable), 1 rewards (writable), 2 vault (writable),
/// 3 receipt (writable), 4 wallet, 5 wallet's tokens (writable), 6 mint, 7 System
/// program, 8 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [submitter, rewards, vault, receipt, wallet, wallet_tokens, mint, system, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let (amount, rest) = data.split_first_chunk::<8>().ok_or(Error::ARGUMENT)?;
    let (bump, proof) = rest.split_first().ok_or(Error::ARGUMENT)?;
    let amount = u64::from_le_bytes(*amount);
    check(submitter.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    let mut record = Rewards::empty();
    record.load(program, rewards)?;
    record.check_vault(program, rewards.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(token::is_account_of(wallet_tokens, &record.mint, wallet.key()), Error::PARTY)?;
    Leaf { rewards: rewards.key(), wallet: wallet.key(), amount }.check(&record.root, proof)?;
    if receipt.owned_by(&system::ID) {
        First { submitter, rewards: rewards.key(), wallet: wallet.key(), receipt, bump: *bump, accounts }
            .create(program)?;
    }
    let mut had = Receipt::empty();
    had.load(program, receipt, rewards.key(), wallet.key())?;

    let due = amount.checked_sub(had.claimed).ok_or(Error::AMOUNT)?;
    check(due > 0, Error::AMOUNT)?;
    had.claimed = amount;
    record.claimed = record.claimed.checked_add(due).ok_or(Error::AMOUNT)?;
    // The leaves of a tree may say more in all than was posted for it: then the last come too late.
    check(record.claimed <= record.total, Error::CAP)?;
    check(rewards.store(&record) && receipt.store(&had), Error::STATE)?;
    let seeds = record.seeds();
    let decimals = record.decimals;
    Purse { account: vault, mint, decimals, owner: rewards, seeds: &seeds, accounts }
        .transfer(wallet_tokens, due)
}
