// SPDX-License-Identifier: Apache-2.0
//! Close: the rest of the deposit goes back to the buyer. The supplier may do it at
//! any time, anybody else after the deadline; nobody's leave is needed then. Only an
//! open dispute holds the lease, for a time that the lease bounds.

use crate::abi::{now, Account, Key, Plain};
use crate::error::{check, Error, Result};
use crate::lease::{self, Lease};
use crate::token::{self, Purse};

/// Accounts: 0 submitter (signer), 1 lease (writable), 2 vault (writable), 3 mint,
/// 4 buyer's tokens (writable), 5 buyer (writable), 6 Token program.
#[inline(never)]
pub fn process(program: &Key, accounts: &[Account]) -> Result {
    let [submitter, lease, vault, mint, buyer_tokens, buyer, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    check(submitter.is_signer(), Error::SIGNER)?;
    let mut record = Lease::empty();
    record.load(program, lease)?;
    record.check_vault(program, lease.key(), vault.key())?;
    check(*mint.key() == record.mint, Error::MINT)?;
    check(*token.key() == token::ID, Error::ARGUMENT)?;
    check(*buyer.key() == record.buyer, Error::PARTY)?;
    check(token::is_account_of(buyer_tokens, &record.mint, &record.buyer), Error::PARTY)?;
    if *submitter.key() != record.supplier {
        let now = now()?;
        check(now > record.deadline, Error::TIME)?;
        let (_, until) = record.award_times();
        check(record.disputed == 0 || now >= until, Error::HELD)?;
    }
    // The whole balance, not the deposit less the payments: dust that somebody
    // sends to the vault would otherwise keep it from being closed.
    let balance = token::balance(vault).ok_or(Error::STATE)?;

    record.magic = lease::CLOSED;
    check(lease.store(&record), Error::STATE)?;
    let seeds = record.seeds();
    let vault =
        Purse { account: vault, mint, decimals: record.decimals, owner: lease, seeds: &seeds, accounts };
    vault.transfer(buyer_tokens, balance)?;
    vault.close(buyer)
}
