// SPDX-License-Identifier: Apache-2.0
//! Slash execute: the pending slash is burned. Anybody may, once nobody has appealed
//! in time; after an appeal only the arbiter.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::stake::pool::{self, Pool};
use crate::token::{self, Purse};

/// Data: number u32.
/// Accounts: 0 submitter (signer), 1 pool (writable), 2 vault (writable), 3 mint
/// (writable), 4 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], number: u32) -> Result {
    let [submitter, pool, vault, mint, token] = accounts else { return Err(Error::ARGUMENT) };
    check(submitter.is_signer(), Error::SIGNER)?;
    let mut record = Pool::empty();
    record.load(program, pool)?;
    record.check_vault(program, pool.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(*token.key() == token::ID, Error::ARGUMENT)?;
    record.check_slash(number)?;
    let now = now()?;
    check(now < record.slash.decide_until, Error::TIME)?;
    if record.slash_state == pool::APPEALED {
        check(*submitter.key() == record.slash.arbiter, Error::SIGNER)?;
    } else {
        check(now >= record.slash.appeal_until, Error::TIME)?;
    }

    let amount = record.slash.amount;
    record.total = record.total.checked_sub(amount).ok_or(Error::STATE)?;
    record.slashed = record.slashed.checked_add(amount).ok_or(Error::STATE)?;
    record.slashed_at = now;
    record.end_slash(now);
    check(pool.store(&record), Error::STATE)?;
    let seeds = record.seeds();
    let decimals = record.decimals;
    Purse { account: vault, mint, decimals, owner: pool, seeds: &seeds, accounts }.burn(amount)
}
