// SPDX-License-Identifier: Apache-2.0
//! Top-up: the buyer adds to the deposit of an open lease.

use crate::abi::{Account, Key, Plain};
use crate::error::{check, check_signed, Error, Result};
use crate::lease::Lease;
use crate::token::{self, Purse};

/// Accounts: 0 buyer (signer), 1 lease (writable), 2 vault (writable), 3 mint,
/// 4 buyer's tokens (writable), 5 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], amount: u64) -> Result {
    let [buyer, lease, vault, mint, buyer_tokens, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let mut record = Lease::empty();
    record.load(program, lease)?;
    check_signed(buyer, &record.buyer)?;
    record.check_vault(program, lease.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(*token.key() == token::ID, Error::ARGUMENT)?;
    check(amount > 0, Error::AMOUNT)?;
    record.deposit = record.deposit.checked_add(amount).ok_or(Error::AMOUNT)?;

    check(lease.store(&record), Error::STATE)?;
    let decimals = record.decimals;
    Purse { account: buyer_tokens, mint, decimals, owner: buyer, seeds: &[], accounts }
        .transfer(vault, amount)
}
