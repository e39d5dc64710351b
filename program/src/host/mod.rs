// SPDX-License-Identifier: Apache-2.0
//! A model of the runtime, so that the program's own sources run in native tests.
//!
//! [`Runtime::run`] writes accounts into an input buffer as the runtime does, calls
//! the real entrypoint on it, and takes the changes back if it succeeds. System
//! calls are in [`syscalls`], the System and Token programs in `programs`. It is
//! never part of the program on the chain.

mod programs;
pub mod sha256;
pub mod syscalls;

use crate::abi::Key;
use crate::{token, voucher};
use std::vec;
use std::vec::Vec;

/// The clock and the identity of the running program.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The program's own address.
    pub program: Key,
    /// The cluster's Unix time.
    pub now: i64,
}

/// An account as the tests see it.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// The address.
    pub key: Key,
    /// The program that the account belongs to.
    pub owner: Key,
    /// The lamports.
    pub lamports: u64,
    /// The data.
    pub data: Vec<u8>,
    /// Whether it signed the transaction.
    pub signer: bool,
    /// Whether the transaction may change it.
    pub writable: bool,
}

impl State {
    /// An account of the System program: a wallet, or an address where nothing is yet.
    pub fn wallet(key: Key, lamports: u64) -> State {
        State { key, owner: crate::system::ID, lamports, data: vec![], signer: false, writable: false }
    }

    /// A token account.
    pub fn tokens(key: Key, mint: &Key, owner: &Key, amount: u64) -> State {
        let mut data = vec![0; token::ACCOUNT_SIZE as usize];
        data[..32].copy_from_slice(mint);
        data[32..64].copy_from_slice(owner);
        data[64..72].copy_from_slice(&amount.to_le_bytes());
        data[108] = 1;
        State { owner: token::ID, data, ..State::wallet(key, crate::system::rent(token::ACCOUNT_SIZE)) }
    }

    /// A mint.
    pub fn mint(key: Key, supply: u64, decimals: u8) -> State {
        let mut data = vec![0; token::MINT_SIZE as usize];
        data[36..44].copy_from_slice(&supply.to_le_bytes());
        data[44] = decimals;
        data[45] = 1;
        State { owner: token::ID, data, ..State::wallet(key, crate::system::rent(token::MINT_SIZE)) }
    }

    /// The instructions sysvar of a transaction with these instructions, of which
    /// the one with the number `current` is running.
    pub fn instructions(list: &[(Key, Vec<u8>)], current: u16) -> State {
        let mut data = (list.len() as u16).to_le_bytes().to_vec();
        data.resize(2 + 2 * list.len(), 0);
        for (i, (program, bytes)) in list.iter().enumerate() {
            let at = (data.len() as u16).to_le_bytes();
            data[2 + 2 * i..4 + 2 * i].copy_from_slice(&at);
            data.extend([0, 0]);
            data.extend(program);
            data.extend((bytes.len() as u16).to_le_bytes());
            data.extend(bytes);
        }
        data.extend(current.to_le_bytes());
        State { data, ..State::wallet(voucher::INSTRUCTIONS, 1) }
    }

    /// The same account, changeable.
    pub fn write(mut self) -> State {
        self.writable = true;
        self
    }

    /// The same account, having signed.
    pub fn sign(mut self) -> State {
        self.signer = true;
        self
    }

    /// The balance of a token account; zero for anything else.
    pub fn amount(&self) -> u64 {
        self.word(64, token::ACCOUNT_SIZE)
    }

    /// The supply of a mint; zero for anything else.
    pub fn supply(&self) -> u64 {
        self.word(36, token::MINT_SIZE)
    }

    fn word(&self, at: usize, size: u64) -> u64 {
        if self.owner != token::ID || self.data.len() != size as usize {
            return 0;
        }
        u64::from_le_bytes(self.data[at..at + 8].try_into().unwrap())
    }
}

/// The error of a program that broke a rule of the runtime.
pub const RULE_BROKEN: u64 = 0xdead << 32;

const GROWTH: usize = 10_240;

impl Runtime {
    /// The canonical program address of the seeds, and its bump.
    pub fn find(&self, seeds: &[&[u8]]) -> (Key, u8) {
        syscalls::find(seeds, &self.program)
    }

    /// Another program address of the seeds.
    pub fn derive(&self, seeds: &[&[u8]], bump: u8) -> Key {
        let mut seeds = seeds.to_vec();
        let bump = [bump];
        seeds.push(&bump);
        syscalls::derive(&seeds, &self.program)
    }

    /// Runs an instruction. The same key twice is the same account. An instruction
    /// that is refused changes nothing.
    pub fn run(&self, accounts: &mut [State], data: &[u8]) -> u64 {
        syscalls::enter(self);
        let (image, places) = self.image(accounts, data);
        // Words, for the alignment; not a byte more than needed, for overreads to be found.
        let mut words = vec![0u64; image.len().div_ceil(8)];
        let input = words.as_mut_ptr() as *mut u8;
        unsafe { input.copy_from(image.as_ptr(), image.len()) };
        let code = unsafe { crate::entrypoint(input) };
        if code != 0 {
            return code;
        }
        let after: Vec<State> = accounts
            .iter()
            .zip(&places)
            .map(|(account, place)| unsafe { read_back(account, input.add(*place)) })
            .collect();
        if !lawful(accounts, &after) {
            return RULE_BROKEN;
        }
        accounts.clone_from_slice(&after);
        0
    }

    /// The input buffer, and where in it the fields of each account begin.
    fn image(&self, accounts: &[State], data: &[u8]) -> (Vec<u8>, Vec<usize>) {
        let mut image = (accounts.len() as u64).to_le_bytes().to_vec();
        let mut places = vec![];
        for (i, account) in accounts.iter().enumerate() {
            if let Some(first) = accounts[..i].iter().position(|other| other.key == account.key) {
                image.extend([first as u8, 0, 0, 0, 0, 0, 0, 0]);
                places.push(places[first]);
                continue;
            }
            image.extend([0xff, account.signer as u8, account.writable as u8, 0, 0, 0, 0, 0]);
            places.push(image.len());
            image.extend(account.key);
            image.extend(account.owner);
            image.extend(account.lamports.to_le_bytes());
            image.extend((account.data.len() as u64).to_le_bytes());
            image.extend(&account.data);
            image.resize((image.len() + GROWTH).next_multiple_of(8) + 8, 0);
        }
        image.extend((data.len() as u64).to_le_bytes());
        image.extend(data);
        image.extend(self.program);
        (image, places)
    }
}

/// Reads an account's new state.
///
/// # Safety
/// `fields` is where an account's key is in an input buffer.
unsafe fn read_back(before: &State, fields: *const u8) -> State {
    let head = unsafe { &*(fields as *const [u8; 80]) };
    let len = u64::from_le_bytes(head[72..].try_into().unwrap()) as usize;
    State {
        owner: head[32..64].try_into().unwrap(),
        lamports: u64::from_le_bytes(head[64..72].try_into().unwrap()),
        data: unsafe { std::slice::from_raw_parts(fields.add(80), len) }.to_vec(),
        ..before.clone()
    }
}

/// Whether lamports are conserved and nothing changed that is read-only.
fn lawful(before: &[State], after: &[State]) -> bool {
    let total = |states: &[State]| -> u128 {
        let mut sum = 0;
        for (i, state) in states.iter().enumerate() {
            if !states[..i].iter().any(|other| other.key == state.key) {
                sum += state.lamports as u128;
            }
        }
        sum
    };
    // Of an account that is named twice the first place decides.
    let writable =
        |key: &Key| before.iter().find(|state| state.key == *key).is_some_and(|state| state.writable);
    total(before) == total(after) && before.iter().zip(after).all(|(b, a)| a == b || writable(&b.key))
}
