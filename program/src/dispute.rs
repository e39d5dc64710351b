// SPDX-License-Identifier: Apache-2.0
//! Dispute: the supplier asks for an amount for which the buyer signed no voucher.
//!
//! It moves nothing. It starts the clock after which the arbiter may award, and keeps
//! others from closing the lease until that time is over.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, check_signed, Error, Result};
use crate::fees::Split;
use crate::lease::Lease;
use crate::payout::due;

/// Accounts: 0 supplier (signer), 1 lease (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], gross: u64) -> Result {
    let [supplier, lease] = accounts else { return Err(Error::ARGUMENT) };
    let mut record = Lease::empty();
    record.load(program, lease)?;
    check_signed(supplier, &record.supplier)?;
    check(record.arbiter_cap > 0 && record.disputed_at == 0, Error::DISPUTE)?;
    let now = now()?;
    // As long as nobody else may close the lease, and no longer.
    check(now <= record.deadline, Error::TIME)?;
    due(&record, gross, &mut Split::default())?;

    record.disputed = gross;
    record.disputed_at = now;
    check(lease.store(&record), Error::STATE)
}
