// SPDX-License-Identifier: Apache-2.0
//! Withdraw: a staker takes what the unbonded shares are worth, after the cooldown and
//! while no slash is pending.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::stake::pool::{self, Pool};
use crate::stake::position::Position;
use crate::token::{self, Purse};

/// Accounts: 0 staker (signer), 1 pool (writable), 2 position (writable), 3 vault
/// (writable), 4 mint, 5 staker's tokens (writable), 6 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account]) -> Result {
    let [staker, pool, position, vault, mint, staker_tokens, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let mut record = Pool::empty();
    record.load(program, pool)?;
    let mut held = Position::empty();
    held.load(program, position, pool.key(), staker)?;
    record.check_vault(program, pool.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(*token.key() == token::ID, Error::ARGUMENT)?;
    check(token::is_account_of(staker_tokens, &record.mint, &held.staker), Error::PARTY)?;
    check(held.unbonding_shares > 0, Error::AMOUNT)?;
    check(now()? >= held.unlock_at, Error::TIME)?;
    check(record.slash_state == pool::NONE, Error::HELD)?;

    let mut due = 0;
    take(&mut record, &mut held, &mut due)?;
    check(pool.store(&record) && position.store(&held), Error::STATE)?;
    let seeds = record.seeds();
    let decimals = record.decimals;
    Purse { account: vault, mint, decimals, owner: pool, seeds: &seeds, accounts }
        .transfer(staker_tokens, due)
}

/// Takes the unbonded shares out of both records and writes what they are worth to `due`.
#[inline(never)]
fn take(pool: &mut Pool, held: &mut Position, due: &mut u64) -> Result {
    let shares = held.unbonding_shares;
    pool.worth(shares, due)?;
    pool.total = pool.total.checked_sub(*due).ok_or(Error::STATE)?;
    pool.shares = pool.shares.checked_sub(shares).ok_or(Error::STATE)?;
    pool.unbonding_shares = pool.unbonding_shares.checked_sub(shares).ok_or(Error::STATE)?;
    if pool.shares == 0 {
        // The next shares start at one unit each: an old mark would say nothing of them.
        (pool.mark_total, pool.mark_shares) = (0, 0);
    }
    (held.unbonding_shares, held.unlock_at) = (0, 0);
    Ok(())
}
