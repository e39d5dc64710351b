// SPDX-License-Identifier: Apache-2.0
//! What the System and Token programs do, as far as the lease program calls them.

use super::syscalls::Called;
use crate::abi::Key;
use crate::{system, token};

type Result<T = ()> = core::result::Result<T, u64>;

/// Errors of the Token program, with its own codes where the tests look at them.
const INSUFFICIENT: u64 = 1;
const MINT_MISMATCH: u64 = 3;
const OWNER_MISMATCH: u64 = 4;
const NOT_EMPTY: u64 = 11;
const FROZEN: u64 = 17;
const DECIMALS: u64 = 18;
/// Errors of the runtime, for what the tests only expect to fail.
const INVALID: u64 = 2 << 32;

fn need(ok: bool, code: u64) -> Result {
    if ok {
        Ok(())
    } else {
        Err(code)
    }
}

pub(super) fn call(program: &Key, accounts: &[Called], data: &[u8]) -> Result {
    match *program {
        system::ID => call_system(accounts, data),
        token::ID => call_token(accounts, data),
        _ => Err(INVALID),
    }
}

fn word(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().unwrap())
}

fn call_system(accounts: &[Called], data: &[u8]) -> Result {
    match (data[0], accounts) {
        (1, [account]) => {
            need(account.signer && account.writable && account.owner() == system::ID, INVALID)?;
            account.set_owner(&data[4..36].try_into().unwrap());
            Ok(())
        }
        (2, [from, to]) => {
            let lamports = word(data, 4);
            need(from.signer && from.writable && to.writable && from.owner() == system::ID, INVALID)?;
            need(from.lamports() >= lamports, INSUFFICIENT)?;
            from.set_lamports(from.lamports() - lamports);
            to.set_lamports(to.lamports() + lamports);
            Ok(())
        }
        (8, [account]) => {
            need(account.signer && account.writable, INVALID)?;
            need(account.owner() == system::ID && account.len() == 0, INVALID)?;
            account.resize(word(data, 4));
            Ok(())
        }
        _ => Err(INVALID),
    }
}

fn call_token(accounts: &[Called], data: &[u8]) -> Result {
    match (data[0], accounts) {
        (9, [account, to, owner]) => {
            check_source(account, owner)?;
            need(to.writable && amount(account) == 0, NOT_EMPTY)?;
            to.set_lamports(to.lamports() + account.lamports());
            account.set_lamports(0);
            account.resize(0);
            account.set_owner(&system::ID);
            Ok(())
        }
        (12, [from, mint, to, owner]) => {
            let value = word(data, 1);
            check_source(from, owner)?;
            check_account(to, &mint.key())?;
            check_account(from, &mint.key())?;
            check_mint(mint, data[9])?;
            need(to.writable && amount(from) >= value, INSUFFICIENT)?;
            set(from, 64, amount(from) - value);
            set(to, 64, amount(to) + value);
            Ok(())
        }
        (15, [from, mint, owner]) => {
            let value = word(data, 1);
            check_source(from, owner)?;
            check_account(from, &mint.key())?;
            check_mint(mint, data[9])?;
            need(mint.writable && amount(from) >= value, INSUFFICIENT)?;
            set(from, 64, amount(from) - value);
            set(mint, 36, word(&mint.data(), 36) - value);
            Ok(())
        }
        (18, [account, mint]) => {
            need(account.writable && account.owner() == token::ID, INVALID)?;
            need(account.len() == token::ACCOUNT_SIZE && account.data().iter().all(|b| *b == 0), INVALID)?;
            need(account.lamports() >= system::rent(token::ACCOUNT_SIZE), INVALID)?;
            need(mint.owner() == token::ID && mint.len() == token::MINT_SIZE, MINT_MISMATCH)?;
            account.write(0, &mint.key());
            account.write(32, &data[1..33]);
            account.write(108, &[1]);
            Ok(())
        }
        _ => Err(INVALID),
    }
}

fn amount(account: &Called) -> u64 {
    word(&account.data(), 64)
}

fn set(account: &Called, at: usize, value: u64) {
    account.write(at, &value.to_le_bytes());
}

fn check_account(account: &Called, mint: &Key) -> Result {
    need(account.owner() == token::ID && account.len() == token::ACCOUNT_SIZE, INVALID)?;
    need(account.data()[..32] == *mint, MINT_MISMATCH)?;
    need(account.data()[108] == 1, FROZEN)
}

fn check_source(account: &Called, owner: &Called) -> Result {
    need(account.writable && account.owner() == token::ID && account.len() == token::ACCOUNT_SIZE, INVALID)?;
    need(owner.signer && account.data()[32..64] == owner.key(), OWNER_MISMATCH)
}

fn check_mint(mint: &Called, decimals: u8) -> Result {
    need(mint.owner() == token::ID && mint.len() == token::MINT_SIZE, MINT_MISMATCH)?;
    need(mint.data()[44] == decimals, DECIMALS)
}
