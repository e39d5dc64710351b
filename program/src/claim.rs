// SPDX-License-Identifier: Apache-2.0
//! Claim: the buyer's voucher is turned into the supplier's pay, the treasury's
//! fee and a burn, in one transaction. Anybody may submit it.

use crate::abi::{Account, Key};
use crate::error::{check, Error, Result};
use crate::fees::Split;
use crate::lease::Lease;
use crate::token::{self, Purse};
use crate::voucher::Voucher;

/// Accounts: 0 submitter (signer), 1 lease (writable), 2 vault (writable), 3 mint
/// (writable if anything is burned), 4 supplier's tokens (writable), 5 treasury's
/// tokens (writable), 6 instructions sysvar, 7 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], gross: u64) -> Result {
    let [submitter, lease, vault, mint, supplier_tokens, treasury_tokens, sysvar, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    check(submitter.is_signer(), Error::SIGNER)?;
    let mut record = Lease::load(program, lease)?;
    record.check_vault(program, lease.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(*token.key() == token::ID, Error::ARGUMENT)?;
    check(token::is_account_of(supplier_tokens, &record.mint, &record.supplier), Error::PARTY)?;
    check(token::is_account_of(treasury_tokens, &record.mint, &record.treasury), Error::PARTY)?;
    check(gross > record.paid, Error::AMOUNT)?;
    let mut due = Split::default();
    debit(&record, gross, &mut due)?;
    Voucher { program, lease: lease.key(), buyer: &record.buyer, gross }.check(sysvar)?;

    record.paid = gross;
    check(lease.store(&record), Error::STATE)?;
    let seeds = record.seeds();
    let vault =
        Purse { account: vault, mint, decimals: record.decimals, owner: lease, seeds: &seeds, accounts };
    vault.transfer(supplier_tokens, due.supplier)?;
    vault.transfer(treasury_tokens, due.treasury)?;
    vault.burn(due.burn)
}

/// Writes to `due` what a claim of `gross` pays out now, within the deposit.
#[inline(never)]
fn debit(record: &Lease, gross: u64, due: &mut Split) -> Result {
    let fees = record.fees();
    let (mut before, mut after) = (Split::default(), Split::default());
    fees.split(record.paid, &mut before)?;
    fees.split(gross, &mut after)?;
    check(after.debit <= record.deposit, Error::AMOUNT)?;
    after.since(&before, due)
}
