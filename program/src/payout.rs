// SPDX-License-Identifier: Apache-2.0
//! Payout: what a claim and an award have in common. A larger cumulative amount is
//! recorded, and what it adds goes to the supplier, the treasury and the burn.

use crate::abi::{Account, Key};
use crate::error::{check, Error, Result};
use crate::fees::Split;
use crate::lease::Lease;
use crate::token::{self, Purse};

/// The accounts between which money moves.
pub struct Payout<'a> {
    /// The lease, whose address signs for the vault.
    pub lease: &'a Account<'a>,
    /// The lease's vault.
    pub vault: &'a Account<'a>,
    /// The lease's mint.
    pub mint: &'a Account<'a>,
    /// A token account of the supplier.
    pub supplier: &'a Account<'a>,
    /// A token account of the treasury.
    pub treasury: &'a Account<'a>,
    /// The Token program.
    pub token: &'a Account<'a>,
    /// All accounts of the instruction.
    pub accounts: &'a [Account<'a>],
}

impl Payout<'_> {
    /// Refuses accounts that are not those of the lease and its parties.
    #[inline(never)]
    pub fn check(&self, program: &Key, record: &Lease) -> Result {
        record.check_vault(program, self.lease.key(), self.vault.key())?;
        check(*self.mint.key() == record.mint, Error::MINT)?;
        check(*self.token.key() == token::ID, Error::ARGUMENT)?;
        check(token::is_account_of(self.supplier, &record.mint, &record.supplier), Error::PARTY)?;
        check(token::is_account_of(self.treasury, &record.mint, &record.treasury), Error::PARTY)
    }

    /// Stores the record, whose paid amount the caller has raised, and pays what is due.
    #[inline(never)]
    pub fn pay(&self, record: &Lease, due: &Split) -> Result {
        check(self.lease.store(record), Error::STATE)?;
        let seeds = record.seeds();
        let vault = Purse {
            account: self.vault,
            mint: self.mint,
            decimals: record.decimals,
            owner: self.lease,
            seeds: &seeds,
            accounts: self.accounts,
        };
        vault.transfer(self.supplier, due.supplier)?;
        vault.transfer(self.treasury, due.treasury)?;
        vault.burn(due.burn)
    }
}

/// Writes to `due` what a cumulative amount of `gross` pays out now, within the deposit.
#[inline(never)]
pub fn due(record: &Lease, gross: u64, due: &mut Split) -> Result {
    check(gross > record.paid, Error::AMOUNT)?;
    let fees = record.fees();
    let (mut before, mut after) = (Split::default(), Split::default());
    fees.split(record.paid, &mut before)?;
    fees.split(gross, &mut after)?;
    check(after.debit <= record.deposit, Error::AMOUNT)?;
    after.since(&before, due)
}
