// SPDX-License-Identifier: Apache-2.0
//! Slash drop: the pending slash ends and nothing is lost.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::stake::pool::{self, Pool};

/// The authority may at any time, the arbiter after an appeal, anybody once the time to
/// decide is over.
///
/// Data: number u32.
/// Accounts: 0 submitter (signer), 1 config, 2 pool (writable).
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account], number: u32) -> Result {
    let [submitter, config, pool] = accounts else { return Err(Error::ARGUMENT) };
    check(submitter.is_signer(), Error::SIGNER)?;
    let mut record = Pool::empty();
    record.load(program, pool)?;
    let market = record.market(program, config)?;
    record.check_slash(number)?;
    let now = now()?;
    let decides = record.slash_state == pool::APPEALED && *submitter.key() == record.slash.arbiter;
    if *submitter.key() != market.authority && !decides {
        check(now >= record.slash.decide_until, Error::TIME)?;
    }
    record.end_slash(now);
    check(pool.store(&record), Error::STATE)
}
