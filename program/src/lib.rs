// SPDX-License-Identifier: Apache-2.0
//! Leases on Solana, paid by cumulative vouchers.
//!
//! A buyer opens a lease and deposits the most that it can cost. While the lease
//! runs the buyer signs vouchers, off chain, each for the total owed so far. Any of
//! them can be claimed here: the supplier is paid, the market's fee is split
//! between its treasury and a burn. What is left goes back to the buyer when the
//! supplier closes the lease, or when anybody does after the deadline.
//!
//! The program has no administrator and holds no key: what can happen to a deposit
//! is fixed when the lease is opened.
//!
//! # Dialect
//! The BPF target has no 128-bit arithmetic, returns one register and takes five,
//! and must not panic. Hence: no indexing that the compiler cannot prove, checked
//! arithmetic, `Result<(), Error>` from out-of-line functions (results go through
//! `&mut`), structs instead of long argument lists, records copied out of accounts
//! and stored back. The linker refuses a program that breaks these rules.
//!
//! Not audited.
#![no_std]

#[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
extern crate std;

pub mod abi;
pub mod claim;
pub mod close;
pub mod error;
pub mod fees;
#[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
pub mod host;
pub mod lease;
pub mod open;
pub mod system;
pub mod token;
pub mod voucher;

mod sys;

use abi::{Account, Key};
use error::{Error, Result};

/// The numbers of the instructions: the first byte of their data.
pub mod instruction {
    /// See [`crate::open`].
    pub const OPEN: u8 = 0;
    /// See [`crate::claim`].
    pub const CLAIM: u8 = 1;
    /// See [`crate::close`].
    pub const CLOSE: u8 = 2;
}

/// Runs one instruction.
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let (number, data) = data.split_first().ok_or(Error::ARGUMENT)?;
    match *number {
        instruction::OPEN => open::process(program, accounts, data),
        instruction::CLAIM => {
            let gross: [u8; 8] = data.try_into().map_err(|_| Error::ARGUMENT)?;
            claim::process(program, accounts, u64::from_le_bytes(gross))
        }
        instruction::CLOSE => {
            error::check(data.is_empty(), Error::ARGUMENT)?;
            close::process(program, accounts)
        }
        _ => Err(Error::ARGUMENT),
    }
}

/// Where the runtime enters the program.
///
/// # Safety
/// `input` is the runtime's input buffer, see [`abi::with_input`].
#[no_mangle]
pub unsafe extern "C" fn entrypoint(input: *mut u8) -> u64 {
    match unsafe { abi::with_input(input, process) } {
        Ok(()) => 0,
        Err(error) => error.code(),
    }
}
