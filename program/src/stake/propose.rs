// SPDX-License-Identifier: Apache-2.0
//! Slash propose: the market's authority says what a pool shall lose, why, and by which
//! evidence. Nothing is lost yet.

use crate::abi::{now, Account, Key, Plain};
use crate::config::Config;
use crate::error::{check, check_signed, Error, Result};
use crate::stake::pool::{self, Pool, Slash};

/// Data: amount u64, reason u8, evidence [32].
/// Accounts: 0 authority (signer), 1 config, 2 pool (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [authority, config, pool] = accounts else { return Err(Error::ARGUMENT) };
    let (amount, rest) = data.split_first_chunk::<8>().ok_or(Error::ARGUMENT)?;
    let (reason, rest) = rest.split_first().ok_or(Error::ARGUMENT)?;
    let evidence: Key = rest.try_into().map_err(|_| Error::ARGUMENT)?;
    check(evidence != [0; 32], Error::ARGUMENT)?;
    let amount = u64::from_le_bytes(*amount);
    let mut record = Pool::empty();
    record.load(program, pool)?;
    let market = record.market(program, config)?;
    check_signed(authority, &market.authority)?;
    check(record.slash_state == pool::NONE, Error::HELD)?;
    let now = now()?;
    check(now >= record.calm_until, Error::TIME)?;
    // One unit stays: shares that are worth nothing would be worth nothing for ever.
    check(amount > 0 && amount < record.total, Error::AMOUNT)?;
    record.mark(now);
    record.check_cap(amount, market.current.max_slash)?;

    record.slash = slash(&market, now, amount, evidence);
    record.slash_number = record.slash_number.checked_add(1).ok_or(Error::STATE)?;
    record.slash_state = pool::PROPOSED;
    record.slash_reason = *reason;
    check(pool.store(&record), Error::STATE)
}

/// A slash by the market's terms of now: no later change of them touches it.
#[inline(always)]
fn slash(market: &Config, now: i64, amount: u64, evidence: Key) -> Slash {
    let appeal_until = now.saturating_add(market.current.slash_window as i64);
    Slash {
        amount,
        proposed_at: now,
        appeal_until,
        decide_until: appeal_until.saturating_add(market.current.slash_hold as i64),
        evidence,
        arbiter: market.current.arbiter,
    }
}
