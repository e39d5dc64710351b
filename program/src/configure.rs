// SPDX-License-Identifier: Apache-2.0
//! The instructions of a market's configuration: create, propose, apply.

use crate::abi::{check_address, now, parse, Account, Key, Plain, Seed};
use crate::config::{self, Config, Terms};
use crate::error::{check, check_signed, Error, Result};
use crate::system::{self, Create};
use crate::token;
use core::slice;

/// Creates the configuration of the authority, who signs: nobody can come first.
///
/// Data: time lock u32, terms, bump u8.
/// Accounts: 0 authority (signer, writable), 1 configuration (writable), 2 mint, 3 System program.
#[inline(never)]
pub fn create(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [authority, config, mint, system] = accounts else { return Err(Error::ARGUMENT) };
    let (delay, data) = data.split_first_chunk::<4>().ok_or(Error::ARGUMENT)?;
    let (bump, terms) = data.split_last().ok_or(Error::ARGUMENT)?;
    let terms = parse::<Terms>(terms).ok_or(Error::ARGUMENT)?;
    let delay = u32::from_le_bytes(*delay);
    check(authority.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID, Error::ARGUMENT)?;
    check((config::MIN_LOCK..=config::MAX_LOCK).contains(&delay), Error::TIME)?;
    terms.check()?;
    check_address(&config::address_seeds(authority.key()), program, config.key(), *bump)?;
    // Lamports may be there already, an account may not.
    check(config.owned_by(&system::ID) && config.data_len() == 0, Error::STATE)?;
    let decimals = token::decimals(mint).ok_or(Error::MINT)?;

    let record = Config {
        magic: config::MAGIC,
        authority: *authority.key(),
        mint: *mint.key(),
        change_at: 0,
        delay,
        decimals,
        bump: *bump,
        version: config::VERSION,
        reserved: 0,
        current: terms,
        pending: terms,
    };
    let [tag, key] = config::address_seeds(&record.authority);
    let seeds = [tag, key, Seed::new(slice::from_ref(&record.bump))];
    let rent = const { system::rent(config::SIZE) };
    Create { payer: authority, account: config, size: config::SIZE, rent, owner: program }
        .invoke(accounts, &seeds)?;
    check(config.store(&record), Error::STATE)
}

/// Proposes terms, which can be applied after the time lock. They replace terms that
/// are pending, and the clock starts anew. The current terms cancel what is pending.
///
/// Data: terms. Accounts: 0 authority (signer), 1 configuration (writable).
#[inline(never)]
pub fn propose(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [authority, config] = accounts else { return Err(Error::ARGUMENT) };
    let terms = parse::<Terms>(data).ok_or(Error::ARGUMENT)?;
    let mut record = Config::empty();
    record.load(program, config)?;
    check_signed(authority, &record.authority)?;
    terms.check()?;
    record.change_at = match terms == record.current {
        true => 0,
        false => now()?.saturating_add(record.delay as i64),
    };
    record.pending = terms;
    check(config.store(&record), Error::STATE)
}

/// Makes the pending terms the current ones. Anybody may, once their time has come.
///
/// Accounts: 0 configuration (writable).
#[inline(never)]
pub fn apply(program: &Key, accounts: &[Account]) -> Result {
    let [config] = accounts else { return Err(Error::ARGUMENT) };
    let mut record = Config::empty();
    record.load(program, config)?;
    check(record.change_at != 0, Error::STATE)?;
    check(now()? >= record.change_at, Error::TIME)?;
    record.current = record.pending;
    record.change_at = 0;
    check(config.store(&record), Error::STATE)
}
