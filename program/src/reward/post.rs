// SPDX-License-Identifier: Apache-2.0
//! Rewards post: the market's authority posts the tree of the next epoch.

use crate::abi::{Account, Key, Plain};
use crate::config::Config;
use crate::error::{check, check_signed, Error, Result};
use crate::reward::Rewards;
use crate::token;

/// What all wallets can claim in all never falls, and what they have not claimed yet
/// must be in the vault: nobody can be promised what is not there.
///
/// Data: epoch u64, total u64, root [32].
/// Accounts: 0 authority (signer), 1 config, 2 rewards (writable), 3 vault.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [authority, config, rewards, vault] = accounts else { return Err(Error::ARGUMENT) };
    let (epoch, rest) = data.split_first_chunk::<8>().ok_or(Error::ARGUMENT)?;
    let (total, rest) = rest.split_first_chunk::<8>().ok_or(Error::ARGUMENT)?;
    let root: Key = rest.try_into().map_err(|_| Error::ARGUMENT)?;
    let (epoch, total) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*total));
    let mut market = Config::empty();
    market.load(program, config)?;
    check_signed(authority, &market.authority)?;
    let mut record = Rewards::empty();
    record.load(program, rewards)?;
    check(record.config == *config.key(), Error::PARTY)?;
    record.check_vault(program, rewards.key(), vault.key())?;
    check(Some(epoch) == record.epoch.checked_add(1), Error::STATE)?;
    check(total >= record.total, Error::AMOUNT)?;
    let owed = total.checked_sub(record.claimed).ok_or(Error::STATE)?;
    let balance = token::balance(vault).ok_or(Error::STATE)?;
    check(owed <= balance, Error::AMOUNT)?;

    (record.root, record.epoch, record.total) = (root, epoch, total);
    check(rewards.store(&record), Error::STATE)
}
