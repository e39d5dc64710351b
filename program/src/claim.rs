// SPDX-License-Identifier: Apache-2.0
//! Claim: the buyer's voucher is turned into the supplier's pay, the treasury's
//! fee and a burn, in one transaction. Anybody may submit it.

use crate::abi::{Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::fees::Split;
use crate::lease::Lease;
use crate::payout::{due, Payout};
use crate::voucher::Voucher;

/// Accounts: 0 submitter (signer), 1 lease (writable), 2 vault (writable), 3 mint
/// (writable if anything is burned), 4 supplier's tokens (writable), 5 treasury's
/// tokens (writable), 6 instructions sysvar, 7 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], gross: u64) -> Result {
    let [submitter, lease, vault, mint, supplier, treasury, sysvar, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    check(submitter.is_signer(), Error::SIGNER)?;
    let mut record = Lease::empty();
    record.load(program, lease)?;
    let payout = Payout { lease, vault, mint, supplier, treasury, token, accounts };
    payout.check(program, &record)?;
    let mut now_due = Split::default();
    due(&record, gross, &mut now_due)?;
    Voucher { program, lease: lease.key(), buyer: &record.buyer, gross }.check(sysvar)?;

    record.paid = gross;
    payout.pay(&record, &now_due)
}
