// SPDX-License-Identifier: Apache-2.0
//! Open: the buyer makes a lease and puts the deposit into its vault.

use crate::abi::{now, Account, Key, Seed};
use crate::error::{check, Error, Result};
use crate::fees::Fees;
use crate::lease::{self, Lease};
use crate::system::{self, Create};
use crate::token::{self, Purse};
use core::slice;

/// The instruction's data, after its number.
struct Terms {
    id: Key,
    deposit: u64,
    deadline: i64,
    fees: Fees,
    decimals: u8,
    bump: u8,
    vault_bump: u8,
}

impl Terms {
    #[inline(always)]
    fn parse(data: &[u8]) -> Option<Terms> {
        let (id, data) = data.split_first_chunk::<32>()?;
        let (deposit, data) = data.split_first_chunk::<8>()?;
        let (deadline, data) = data.split_first_chunk::<8>()?;
        let (buyer_fee, data) = data.split_first_chunk::<2>()?;
        let (supplier_fee, data) = data.split_first_chunk::<2>()?;
        let (burn, data) = data.split_first_chunk::<2>()?;
        let [decimals, bump, vault_bump] = *data else { return None };
        Some(Terms {
            id: *id,
            deposit: u64::from_le_bytes(*deposit),
            deadline: i64::from_le_bytes(*deadline),
            fees: Fees {
                buyer: u16::from_le_bytes(*buyer_fee),
                supplier: u16::from_le_bytes(*supplier_fee),
                burn: u16::from_le_bytes(*burn),
            },
            decimals,
            bump,
            vault_bump,
        })
    }
}

/// Accounts: 0 buyer (signer, writable), 1 lease (writable), 2 vault (writable),
/// 3 mint, 4 buyer's tokens (writable), 5 supplier, 6 treasury, 7 System program,
/// 8 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [buyer, lease, vault, mint, buyer_tokens, supplier, treasury, system, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let terms = Terms::parse(data).ok_or(Error::ARGUMENT)?;
    check(buyer.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    check(terms.deposit > 0, Error::AMOUNT)?;
    terms.fees.check()?;
    check(terms.deadline > now()?, Error::TIME)?;
    lease::check_address(&lease::address_seeds(buyer.key(), &terms.id), program, lease.key(), terms.bump)?;
    lease::check_address(&lease::vault_seeds(lease.key()), program, vault.key(), terms.vault_bump)?;
    // Lamports may be there already, an account may not: neither a lease nor a tombstone.
    check(lease.owned_by(&system::ID) && lease.data_len() == 0, Error::STATE)?;
    check(token::is_mint(mint, terms.decimals), Error::MINT)?;

    let record = Lease {
        magic: lease::OPEN,
        buyer: *buyer.key(),
        supplier: *supplier.key(),
        arbiter: [0; 32],
        treasury: *treasury.key(),
        mint: *mint.key(),
        id: terms.id,
        deposit: terms.deposit,
        paid: 0,
        deadline: terms.deadline,
        buyer_fee: terms.fees.buyer,
        supplier_fee: terms.fees.supplier,
        burn: terms.fees.burn,
        decimals: terms.decimals,
        bump: terms.bump,
        vault_bump: terms.vault_bump,
        version: lease::VERSION,
        reserved: [0; 22],
    };
    create(program, accounts, &record)?;
    check(lease.store(&record), Error::STATE)?;
    let purse =
        Purse { account: buyer_tokens, mint, decimals: terms.decimals, owner: buyer, seeds: &[], accounts };
    purse.transfer(vault, terms.deposit)
}

/// Creates the lease account and its vault, which belongs to the lease.
#[inline(never)]
fn create(program: &Key, accounts: &[Account], record: &Lease) -> Result {
    let [buyer, lease, vault, mint, ..] = accounts else { return Err(Error::ARGUMENT) };
    let rent = const { system::rent(lease::SIZE) };
    Create { payer: buyer, account: lease, size: lease::SIZE, rent, owner: program }
        .invoke(accounts, &record.seeds())?;

    let [tag, key] = lease::vault_seeds(lease.key());
    let seeds = [tag, key, Seed::new(slice::from_ref(&record.vault_bump))];
    let rent = const { system::rent(token::ACCOUNT_SIZE) };
    Create { payer: buyer, account: vault, size: token::ACCOUNT_SIZE, rent, owner: &token::ID }
        .invoke(accounts, &seeds)?;
    token::initialize(vault, mint, lease.key(), accounts)
}
