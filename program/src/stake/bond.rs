// SPDX-License-Identifier: Apache-2.0
//! Bond: the owner stakes in the own pool, or somebody else delegates to it.

use crate::abi::{Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::stake::pool::{self, Pool};
use crate::stake::position::{First, Position};
use crate::system;
use crate::token::{self, Purse};

/// Data: amount u64, position bump u8.
/// Accounts: 0 staker (signer, writable), 1 config, 2 pool (writable), 3 position
/// (writable), 4 vault (writable), 5 mint, 6 staker's tokens (writable), 7 System
/// program, 8 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [staker, config, pool, position, vault, mint, staker_tokens, system, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let (amount, rest) = data.split_first_chunk::<8>().ok_or(Error::ARGUMENT)?;
    let [bump] = *rest else { return Err(Error::ARGUMENT) };
    let amount = u64::from_le_bytes(*amount);
    check(staker.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    let mut record = Pool::empty();
    record.load(program, pool)?;
    let market = record.market(program, config)?;
    record.check_vault(program, pool.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(amount > 0, Error::AMOUNT)?;
    if position.owned_by(&system::ID) {
        First { staker, pool: pool.key(), position, bump, accounts }.create(program)?;
    }
    let mut held = Position::empty();
    held.load(program, position, pool.key(), staker)?;

    let mut shares = 0;
    record.shares_for(amount, &mut shares)?;
    held.shares = held.shares.checked_add(shares).ok_or(Error::AMOUNT)?;
    record.shares = record.shares.checked_add(shares).ok_or(Error::AMOUNT)?;
    record.total = record.total.checked_add(amount).ok_or(Error::AMOUNT)?;
    if held.staker == record.owner {
        record.own_shares = record.own_shares.checked_add(shares).ok_or(Error::AMOUNT)?;
    } else {
        // A newcomer would pay for what was done before.
        check(record.slash_state == pool::NONE, Error::HELD)?;
        record.check_delegation(market.current.max_delegation)?;
    }
    check(pool.store(&record) && position.store(&held), Error::STATE)?;
    let decimals = record.decimals;
    Purse { account: staker_tokens, mint, decimals, owner: staker, seeds: &[], accounts }
        .transfer(vault, amount)
}
