// SPDX-License-Identifier: Apache-2.0
//! Open: the buyer makes a lease and puts the deposit into its vault.

use crate::abi::{check_address, now, Account, Key, Plain, Seed};
use crate::config::{self, Config};
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
    arbiter_cap: u16,
    dispute_delay: u32,
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
        let (arbiter_cap, data) = data.split_first_chunk::<2>()?;
        let (dispute_delay, data) = data.split_first_chunk::<4>()?;
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
            arbiter_cap: u16::from_le_bytes(*arbiter_cap),
            dispute_delay: u32::from_le_bytes(*dispute_delay),
            decimals,
            bump,
            vault_bump,
        })
    }

    /// Refuses what the market's current terms do not allow.
    ///
    /// Treasury and arbiter follow from the configuration, and yet the buyer's
    /// transaction names them: a change that is applied just before it must not
    /// change what the buyer has signed.
    #[inline(never)]
    fn check(&self, program: &Key, config: &Account, treasury: &Key, arbiter: &Key) -> Result {
        let mut record = Config::empty();
        record.load(program, config)?;
        let market = &record.current;
        let arbitrates = self.arbiter_cap > 0;
        let expected = if arbitrates { market.arbiter } else { [0; 32] };
        check(*treasury == market.treasury && *arbiter == expected, Error::PARTY)?;
        check(self.fees.buyer <= market.max_buyer_fee, Error::CAP)?;
        check(self.fees.supplier <= market.max_supplier_fee, Error::CAP)?;
        check(self.arbiter_cap <= market.max_arbiter_cap, Error::CAP)?;
        let delay = self.dispute_delay;
        check((delay > 0) == arbitrates && delay <= config::MAX_DELAY, Error::TIME)?;
        check(!arbitrates || delay >= market.min_dispute_delay, Error::TIME)
    }
}

/// Accounts: 0 buyer (signer, writable), 1 lease (writable), 2 vault (writable),
/// 3 mint, 4 buyer's tokens (writable), 5 supplier, 6 treasury, 7 arbiter (the zero
/// address without arbitration), 8 configuration, 9 System program, 10 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [buyer, lease, vault, mint, buyer_tokens, supplier, treasury, arbiter, config, system, token] =
        accounts
    else {
        return Err(Error::ARGUMENT);
    };
    let terms = Terms::parse(data).ok_or(Error::ARGUMENT)?;
    check(buyer.is_signer(), Error::SIGNER)?;
    check(*system.key() == system::ID && *token.key() == token::ID, Error::ARGUMENT)?;
    check(terms.deposit > 0, Error::AMOUNT)?;
    terms.fees.check()?;
    lease::check_deadline(terms.deadline, now()?)?;
    check_address(&lease::address_seeds(buyer.key(), &terms.id), program, lease.key(), terms.bump)?;
    check_address(&lease::vault_seeds(lease.key()), program, vault.key(), terms.vault_bump)?;
    // Lamports may be there already, an account may not: neither a lease nor a tombstone.
    check(lease.owned_by(&system::ID) && lease.data_len() == 0, Error::STATE)?;
    check(token::is_mint(mint, terms.decimals), Error::MINT)?;
    terms.check(program, config, treasury.key(), arbiter.key())?;

    let record = Lease {
        magic: lease::OPEN,
        buyer: *buyer.key(),
        supplier: *supplier.key(),
        arbiter: *arbiter.key(),
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
        arbiter_cap: terms.arbiter_cap,
        dispute_delay: terms.dispute_delay,
        disputed_at: 0,
        disputed: 0,
    };
    create(program, accounts, &record)?;
    check(lease.store(&record), Error::STATE)?;
    let decimals = terms.decimals;
    Purse { account: buyer_tokens, mint, decimals, owner: buyer, seeds: &[], accounts }
        .transfer(vault, terms.deposit)
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
