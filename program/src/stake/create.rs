// SPDX-License-Identifier: Apache-2.0
//! Pool create: a supplier makes a pool in a market, and the pool's vault.

use crate::abi::{check_address, Account, Key, Plain, Seed};
use crate::config::Config;
use crate::error::{check, Error, Result};
use crate::stake::pool::{self, Pool};
use crate::system::{self, Create};
use crate::token;
use core::slice;

/// Data: pool bump u8, vault bump u8.
/// Accounts: 0 owner (signer, writable), 1 config, 2 pool (writable), 3 vault (writable),
/// 4 mint, 5 System program, 6 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [owner, config, pool, vault, mint, system, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let [bump, vault_bump] = *data else { return Err(Error::ARGUMENT) };
    check(owner.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    let mut market = Config::empty();
    market.load(program, config)?;
    check_address(&pool::address_seeds(config.key(), owner.key()), program, pool.key(), bump)?;
    check_address(&pool::vault_seeds(pool.key()), program, vault.key(), vault_bump)?;
    // Lamports may be there already, a pool may not.
    check(pool.owned_by(&system::ID) && pool.data_len() == 0, Error::STATE)?;
    check(*mint.key() == market.mint && token::is_mint(mint, market.decimals), Error::MINT)?;
    // The Token program does not burn wrapped SOL: a slash could never be executed.
    check(*mint.key() != token::NATIVE, Error::MINT)?;

    let record = Pool {
        magic: pool::MAGIC,
        config: *config.key(),
        owner: *owner.key(),
        mint: market.mint,
        decimals: market.decimals,
        bump,
        vault_bump,
        version: pool::VERSION,
        ..Pool::empty()
    };
    create(program, accounts, &record)?;
    check(pool.store(&record), Error::STATE)
}

/// Creates the pool's account and its vault, which belongs to the pool.
#[inline(never)]
fn create(program: &Key, accounts: &[Account], record: &Pool) -> Result {
    let [owner, _, pool, vault, mint, ..] = accounts else { return Err(Error::ARGUMENT) };
    let rent = const { system::rent(pool::SIZE) };
    Create { payer: owner, account: pool, size: pool::SIZE, rent, owner: program }
        .invoke(accounts, &record.seeds())?;

    let [tag, key] = pool::vault_seeds(pool.key());
    let seeds = [tag, key, Seed::new(slice::from_ref(&record.vault_bump))];
    let rent = const { system::rent(token::ACCOUNT_SIZE) };
    Create { payer: owner, account: vault, size: token::ACCOUNT_SIZE, rent, owner: &token::ID }
        .invoke(accounts, &seeds)?;
    token::initialize(vault, mint, pool.key(), accounts)
}
