// SPDX-License-Identifier: Apache-2.0
//! Rewards create: the market's authority makes the rewards account and its vault.

use crate::abi::{check_address, Account, Key, Plain, Seed};
use crate::config::Config;
use crate::error::{check, check_signed, Error, Result};
use crate::reward::{self, Rewards};
use crate::system::{self, Create};
use crate::token;
use core::slice;

/// Data: rewards bump u8, vault bump u8.
/// Accounts: 0 authority (signer, writable), 1 config, 2 rewards (writable), 3 vault
/// (writable), 4 mint, 5 System program, 6 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [authority, config, rewards, vault, mint, system, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let [bump, vault_bump] = *data else { return Err(Error::ARGUMENT) };
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    let mut market = Config::empty();
    market.load(program, config)?;
    check_signed(authority, &market.authority)?;
    check_address(&reward::address_seeds(config.key()), program, rewards.key(), bump)?;
    check_address(&reward::vault_seeds(rewards.key()), program, vault.key(), vault_bump)?;
    // Lamports may be there already, an account may not.
    check(rewards.owned_by(&system::ID) && rewards.data_len() == 0, Error::STATE)?;
    check(*mint.key() == market.mint && token::is_mint(mint, market.decimals), Error::MINT)?;

    let record = Rewards {
        magic: reward::MAGIC,
        config: *config.key(),
        mint: market.mint,
        decimals: market.decimals,
        bump,
        vault_bump,
        version: reward::VERSION,
        ..Rewards::empty()
    };
    create(program, accounts, &record)?;
    check(rewards.store(&record), Error::STATE)
}

/// Creates the account and its vault, which belongs to it.
#[inline(never)]
fn create(program: &Key, accounts: &[Account], record: &Rewards) -> Result {
    let [authority, _, rewards, vault, mint, ..] = accounts else { return Err(Error::ARGUMENT) };
    let rent = const { system::rent(reward::SIZE) };
    Create { payer: authority, account: rewards, size: reward::SIZE, rent, owner: program }
        .invoke(accounts, &record.seeds())?;

    let [tag, key] = reward::vault_seeds(rewards.key());
    let seeds = [tag, key, Seed::new(slice::from_ref(&record.vault_bump))];
    let rent = const { system::rent(token::ACCOUNT_SIZE) };
    Create { payer: authority, account: vault, size: token::ACCOUNT_SIZE, rent, owner: &token::ID }
        .invoke(accounts, &seeds)?;
    token::initialize(vault, mint, rewards.key(), accounts)
}
