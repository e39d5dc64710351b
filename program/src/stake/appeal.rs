// SPDX-License-Identifier: Apache-2.0
//! Appeal: the pool's owner asks the arbiter to decide about the pending slash.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, check_signed, Error, Result};
use crate::stake::pool::{self, Pool};

/// Data: number u32.
/// Accounts: 0 owner (signer), 1 pool (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], number: u32) -> Result {
    let [owner, pool] = accounts else { return Err(Error::ARGUMENT) };
    let mut record = Pool::empty();
    record.load(program, pool)?;
    check_signed(owner, &record.owner)?;
    record.check_slash(number)?;
    check(record.slash_state == pool::PROPOSED, Error::STATE)?;
    check(now()? < record.slash.appeal_until, Error::TIME)?;
    record.slash_state = pool::APPEALED;
    check(pool.store(&record), Error::STATE)
}
