// SPDX-License-Identifier: Apache-2.0
//! What the program refuses, and with which code.

use crate::abi::{Account, Key};
use core::num::NonZeroU64;

/// A program error: the value that `entrypoint` returns.
///
/// It is never zero, so that `Result<(), Error>` fits the one register in which
/// BPF functions return. The runtime shows the codes below as `Custom(code)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Error(NonZeroU64);

/// The result of everything that can be refused.
pub type Result<T = ()> = core::result::Result<T, Error>;

impl Error {
    /// Unknown instruction, wrong data length, or wrong number or identity of accounts.
    pub const ARGUMENT: Error = Error::new(100);
    /// A signature that the instruction needs is missing: nobody signed, or somebody else did.
    pub const SIGNER: Error = Error::new(101);
    /// The lease or configuration account does not belong to this program.
    pub const OWNER: Error = Error::new(102);
    /// An address is not the derived one, or its bump is not canonical.
    pub const PDA: Error = Error::new(103);
    /// The account exists already, is closed, is not what it should be, or has nothing pending.
    pub const STATE: Error = Error::new(104);
    /// An amount or a fee is out of its range.
    pub const AMOUNT: Error = Error::new(105);
    /// Too early or too late, or a deadline or delay is out of its range.
    pub const TIME: Error = Error::new(106);
    /// The instruction before the claim does not prove the buyer's voucher.
    pub const VOUCHER: Error = Error::new(107);
    /// Money or power would go to somebody whom the lease or the configuration does not name.
    pub const PARTY: Error = Error::new(108);
    /// The mint is not the lease's, or not what the terms say.
    pub const MINT: Error = Error::new(109);
    /// More than a cap of the configuration or of the lease allows.
    pub const CAP: Error = Error::new(110);
    /// A proof does not lead to the posted root.
    pub const PROOF: Error = Error::new(111);
    /// The lease has no arbitration, no open dispute, or had its one dispute already.
    pub const DISPUTE: Error = Error::new(112);
    /// Something pending, such as an open dispute, still holds what would be paid out.
    pub const HELD: Error = Error::new(113);

    /// Makes an error of a code. Zero, which would mean success, becomes the largest code.
    pub const fn new(code: u64) -> Self {
        match NonZeroU64::new(code) {
            Some(code) => Error(code),
            None => Error(NonZeroU64::MAX),
        }
    }

    /// The value that the runtime gets.
    #[inline(always)]
    pub const fn code(self) -> u64 {
        self.0.get()
    }
}

/// Refuses with `error` unless `ok`.
#[inline(always)]
pub fn check(ok: bool, error: Error) -> Result {
    if ok {
        Ok(())
    } else {
        Err(error)
    }
}

/// Refuses unless `signer` is the account of `key` and signed the transaction.
#[inline(always)]
pub fn check_signed(signer: &Account, key: &Key) -> Result {
    check(signer.is_signer() && signer.key() == key, Error::SIGNER)
}

/// The result of a syscall: zero is success, anything else is passed on as it is.
#[inline(always)]
pub(crate) fn syscall(code: u64) -> Result {
    match NonZeroU64::new(code) {
        None => Ok(()),
        Some(code) => Err(Error(code)),
    }
}
