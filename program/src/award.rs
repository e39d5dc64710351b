// SPDX-License-Identifier: Apache-2.0
//! Award: the arbiter decides a dispute for the supplier, wholly or in part, without
//! a voucher of the buyer.
//!
//! Arbiter and supplier may be in league, so this is bounded by what both sides agreed
//! to when the lease was opened: no more than the lease's part of the deposit, no more
//! than the supplier disputed, once, and not before the lease's delay has passed.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, check_signed, Error, Result};
use crate::fees::{part, Split};
use crate::lease::Lease;
use crate::payout::{due, Payout};

/// Accounts: 0 arbiter (signer), 1 lease (writable), 2 vault (writable), 3 mint
/// (writable if anything is burned), 4 supplier's tokens (writable), 5 treasury's
/// tokens (writable), 6 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], gross: u64) -> Result {
    let [arbiter, lease, vault, mint, supplier, treasury, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let mut record = Lease::empty();
    record.load(program, lease)?;
    check_signed(arbiter, &record.arbiter)?;
    let payout = Payout { lease, vault, mint, supplier, treasury, token, accounts };
    payout.check(program, &record)?;
    check(record.disputed != 0, Error::DISPUTE)?;
    let (from, until) = record.award_times();
    let now = now()?;
    check(now >= from && now < until, Error::TIME)?;
    check(gross <= record.disputed, Error::AMOUNT)?;
    let mut now_due = Split::default();
    due(&record, gross, &mut now_due)?;
    check(now_due.debit <= part(record.deposit, record.arbiter_cap), Error::CAP)?;

    record.paid = gross;
    // The time of the dispute stays: there is never a second one.
    record.disputed = 0;
    payout.pay(&record, &now_due)
}
