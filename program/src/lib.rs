// SPDX-License-Identifier: Apache-2.0
//! Leases on Solana, paid by cumulative vouchers.
//!
//! A buyer opens a lease and deposits the most that it can cost. While the lease
//! runs the buyer signs vouchers, off chain, each for the total owed so far. Any of
//! them can be claimed here: the supplier is paid, the market's fee is split
//! between its treasury and a burn. What is left goes back to the buyer when the
//! supplier closes the lease, or when anybody does after the deadline.
//!
//! A lease may name an arbiter, who can award a supplier a bounded part of the deposit
//! without a voucher: after a dispute, after a delay, and once.
//!
//! The program has no administrator and holds no key. Each market has a configuration
//! that fixes its treasury, its arbiter and its caps; a change of it waits for a time
//! lock. What can happen to a deposit is fixed when the lease is opened.
//!
//! The program also holds what suppliers and those who trust them have at stake, and a
//! market's rewards: see [`stake`] and [`reward`].
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
pub mod award;
pub mod claim;
pub mod close;
pub mod config;
pub mod configure;
pub mod dispute;
pub mod error;
pub mod extend;
pub mod fees;
#[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
pub mod host;
pub mod lease;
pub mod muldiv;
pub mod open;
pub mod payout;
pub mod reward;
pub mod stake;
pub mod system;
pub mod token;
pub mod top_up;
pub mod voucher;

mod sys;

use abi::{Account, Key};
use error::{check, Error, Result};

/// The numbers of the instructions: the first byte of their data.
pub mod instruction {
    /// See [`crate::open`].
    pub const OPEN: u8 = 0;
    /// See [`crate::claim`].
    pub const CLAIM: u8 = 1;
    /// See [`crate::close`].
    pub const CLOSE: u8 = 2;
    /// See [`crate::top_up`].
    pub const TOP_UP: u8 = 3;
    /// See [`crate::extend`].
    pub const EXTEND: u8 = 4;
    /// See [`crate::dispute`].
    pub const DISPUTE: u8 = 5;
    /// See [`crate::award`].
    pub const AWARD: u8 = 6;
    /// See [`crate::configure::create`].
    pub const CONFIG_CREATE: u8 = 7;
    /// See [`crate::configure::propose`].
    pub const CONFIG_PROPOSE: u8 = 8;
    /// See [`crate::configure::apply`].
    pub const CONFIG_APPLY: u8 = 9;
    /// See [`crate::stake::create`].
    pub const POOL_CREATE: u8 = 16;
    /// See [`crate::stake::bond`].
    pub const BOND: u8 = 17;
    /// See [`crate::stake::unbond`].
    pub const UNBOND: u8 = 18;
    /// See [`crate::stake::withdraw`].
    pub const WITHDRAW: u8 = 19;
    /// See [`crate::stake::propose`].
    pub const SLASH_PROPOSE: u8 = 20;
    /// See [`crate::stake::appeal`].
    pub const APPEAL: u8 = 21;
    /// See [`crate::stake::execute`].
    pub const SLASH_EXECUTE: u8 = 22;
    /// See [`crate::stake::drop`].
    pub const SLASH_DROP: u8 = 23;
    /// See [`crate::reward::create`].
    pub const REWARDS_CREATE: u8 = 32;
    /// See [`crate::reward::post`].
    pub const REWARDS_POST: u8 = 33;
    /// See [`crate::reward::claim`].
    pub const REWARDS_CLAIM: u8 = 34;
}

/// Runs one instruction.
pub fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let (number, data) = data.split_first().ok_or(Error::ARGUMENT)?;
    match *number {
        instruction::OPEN => open::process(program, accounts, data),
        instruction::CLAIM => claim::process(program, accounts, word(data)?),
        instruction::CLOSE => {
            check(data.is_empty(), Error::ARGUMENT)?;
            close::process(program, accounts)
        }
        instruction::TOP_UP => top_up::process(program, accounts, word(data)?),
        instruction::EXTEND => extend::process(program, accounts, word(data)? as i64),
        instruction::DISPUTE => dispute::process(program, accounts, word(data)?),
        instruction::AWARD => award::process(program, accounts, word(data)?),
        instruction::CONFIG_CREATE => configure::create(program, accounts, data),
        instruction::CONFIG_PROPOSE => configure::propose(program, accounts, data),
        instruction::CONFIG_APPLY => {
            check(data.is_empty(), Error::ARGUMENT)?;
            configure::apply(program, accounts)
        }
        number => process_stake(program, accounts, number, data),
    }
}

/// Runs one instruction about stakes or rewards.
#[inline(always)]
fn process_stake(program: &Key, accounts: &[Account], number: u8, data: &[u8]) -> Result {
    match number {
        instruction::POOL_CREATE => stake::create::process(program, accounts, data),
        instruction::BOND => stake::bond::process(program, accounts, data),
        instruction::UNBOND => stake::unbond::process(program, accounts, word(data)?),
        instruction::WITHDRAW => {
            check(data.is_empty(), Error::ARGUMENT)?;
            stake::withdraw::process(program, accounts)
        }
        instruction::SLASH_PROPOSE => stake::propose::process(program, accounts, data),
        instruction::APPEAL => stake::appeal::process(program, accounts, half_word(data)?),
        instruction::SLASH_EXECUTE => stake::execute::process(program, accounts, half_word(data)?),
        instruction::SLASH_DROP => stake::drop::process(program, accounts, half_word(data)?),
        instruction::REWARDS_CREATE => reward::create::process(program, accounts, data),
        instruction::REWARDS_POST => reward::post::process(program, accounts, data),
        instruction::REWARDS_CLAIM => reward::claim::process(program, accounts, data),
        _ => Err(Error::ARGUMENT),
    }
}

/// The number that is all of an instruction's data.
#[inline(always)]
fn word(data: &[u8]) -> Result<u64> {
    let bytes: [u8; 8] = data.try_into().map_err(|_| Error::ARGUMENT)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The small number that is all of an instruction's data.
#[inline(always)]
fn half_word(data: &[u8]) -> Result<u32> {
    let bytes: [u8; 4] = data.try_into().map_err(|_| Error::ARGUMENT)?;
    Ok(u32::from_le_bytes(bytes))
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
