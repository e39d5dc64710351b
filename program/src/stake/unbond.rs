// SPDX-License-Identifier: Apache-2.0
//! Unbond: a staker asks for shares back. They wait for the cooldown, and can be slashed
//! until they are withdrawn.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::stake::pool::Pool;
use crate::stake::position::Position;

/// A position has one clock: unbonding more starts it anew for all, and never sets it back.
///
/// The owner may unbond although delegators stay; they could trap the owner otherwise.
/// Nothing more can be delegated then, and the market counts no more of what is there
/// than the owner's stake allows.
///
/// Data: shares u64.
/// Accounts: 0 staker (signer), 1 config, 2 pool (writable), 3 position (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], shares: u64) -> Result {
    let [staker, config, pool, position] = accounts else { return Err(Error::ARGUMENT) };
    let mut record = Pool::empty();
    record.load(program, pool)?;
    let market = record.market(program, config)?;
    let mut held = Position::empty();
    held.load(program, position, pool.key(), staker)?;
    check(shares > 0, Error::AMOUNT)?;

    held.shares = held.shares.checked_sub(shares).ok_or(Error::AMOUNT)?;
    held.unbonding_shares = held.unbonding_shares.checked_add(shares).ok_or(Error::AMOUNT)?;
    held.unlock_at = held.unlock_at.max(now()?.saturating_add(market.current.cooldown as i64));
    record.unbonding_shares = record.unbonding_shares.checked_add(shares).ok_or(Error::AMOUNT)?;
    if held.staker == record.owner {
        record.own_shares = record.own_shares.checked_sub(shares).ok_or(Error::AMOUNT)?;
    }
    check(pool.store(&record) && position.store(&held), Error::STATE)
}
