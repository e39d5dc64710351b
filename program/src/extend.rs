// SPDX-License-Identifier: Apache-2.0
//! Extend: the buyer moves the deadline of an open lease further away. It costs the
//! supplier nothing, who may close the lease at any time.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, check_signed, Error, Result};
use crate::lease::{check_deadline, Lease};

/// Accounts: 0 buyer (signer), 1 lease (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], deadline: i64) -> Result {
    let [buyer, lease] = accounts else { return Err(Error::ARGUMENT) };
    let mut record = Lease::empty();
    record.load(program, lease)?;
    check_signed(buyer, &record.buyer)?;
    check(deadline > record.deadline, Error::TIME)?;
    check_deadline(deadline, now()?)?;

    record.deadline = deadline;
    check(lease.store(&record), Error::STATE)
}
