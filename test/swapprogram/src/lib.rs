// SPDX-License-Identifier: Apache-2.0
//! An exchange at a fixed rate, for tests on a local chain only.
//!
//! Its pool's state, which a test writes, says the rate and how honest the pool is. Instruction data: the amount to
//! take and the least to yield, as two little-endian numbers of eight bytes. Accounts: the taker, its two token
//! accounts, the pool's two token accounts, the pool's state, which signs for the pool, and the Token program.
#![no_std]
#![allow(dead_code)] // The lease program's files are used in part.

#[path = "../../../program/src/abi.rs"]
mod abi;
#[path = "../../../program/src/error.rs"]
mod error;
#[path = "../../../program/src/sys.rs"]
mod sys;

use abi::{invoke, Account, Key, Meta, Seed};
use error::{check, Error, Result};

const TRANSFER: u8 = 3;
const WHOLE: u64 = 10_000;

/// The pool's state: a rate as a fraction, and how many basis points it takes and yields of what it should.
struct Pool {
    numerator: u64,
    denominator: u64,
    takes: u64,
    yields: u64,
    bump: [u8; 1],
}

impl Pool {
    #[inline(always)]
    fn read(state: &Account, program: &Key) -> Option<Pool> {
        if !state.owned_by(program) {
            return None;
        }
        let number = |at| Some(u32::from_le_bytes(state.get(at)?) as u64);
        Some(Pool { numerator: number(0)?, denominator: number(4)?, takes: number(8)?, yields: number(12)?, bump: state.get(16)? })
    }
}

/// Moves tokens from the first account to the second.
#[inline(always)]
fn transfer(token: &Account, metas: [Meta; 3], amount: u64, accounts: &[Account], seeds: &[Seed]) -> Result {
    let mut data = [TRANSFER; 9];
    data[1..].copy_from_slice(&amount.to_le_bytes());
    invoke(token.key(), &metas, &data, accounts, seeds)
}

/// Runs the only instruction.
fn process(program: &Key, accounts: &[Account], data: &[u8]) -> Result {
    let [taker, from, into, vault_in, vault_out, state, token] = accounts else {
        return Err(Error::ARGUMENT);
    };
    let data: &[u8; 16] = data.try_into().map_err(|_| Error::ARGUMENT)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *data;
    let amount = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let least = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
    let pool = Pool::read(state, program).ok_or(Error::STATE)?;
    check(taker.is_signer(), Error::SIGNER)?;
    check(amount <= u32::MAX as u64 && pool.denominator > 0, Error::AMOUNT)?;
    let taken = amount.wrapping_mul(pool.takes) / WHOLE;
    let yielded = amount.wrapping_mul(pool.numerator) / pool.denominator / WHOLE;
    check(yielded <= u32::MAX as u64, Error::AMOUNT)?;
    let yielded = yielded.wrapping_mul(pool.yields);
    check(yielded >= least, Error::TIME)?;
    let pay = [Meta::write(from), Meta::write(vault_in), Meta::read(taker).signed()];
    transfer(token, pay, taken, accounts, &[])?;
    let seeds = [Seed::new(b"pool"), Seed::new(&pool.bump)];
    let get = [Meta::write(vault_out), Meta::write(into), Meta::read(state).signed()];
    transfer(token, get, yielded, accounts, &seeds)
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
