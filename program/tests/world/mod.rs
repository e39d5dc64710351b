// SPDX-License-Identifier: Apache-2.0
//! A small world for the tests: one buyer, one supplier, a treasury, a stranger, one lease.
#![allow(dead_code)]

use bourse::abi::Key;
use bourse::fees::Fees;
use bourse::host::{Runtime, State};
use bourse::{lease, system, token, voucher};

pub const MINT: Key = [20; 32];
pub const BUYER: Key = [1; 32];
pub const SUPPLIER: Key = [2; 32];
pub const TREASURY: Key = [4; 32];
pub const STRANGER: Key = [8; 32];
pub const DECIMALS: u8 = 6;
pub const WEALTH: u64 = 1_000_000;
pub const FEES: Fees = Fees { buyer: 225, supplier: 25, burn: 4_000 };

/// A small generator of reproducible numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// The terms of an opening, free to be wrong.
#[derive(Clone)]
pub struct Terms {
    pub id: Key,
    pub deposit: u64,
    pub deadline: i64,
    pub fees: Fees,
    pub decimals: u8,
    pub bump: u8,
    pub vault_bump: u8,
}

impl Terms {
    pub fn data(&self) -> Vec<u8> {
        let mut data = vec![0];
        data.extend(self.id);
        data.extend(self.deposit.to_le_bytes());
        data.extend(self.deadline.to_le_bytes());
        data.extend(self.fees.buyer.to_le_bytes());
        data.extend(self.fees.supplier.to_le_bytes());
        data.extend(self.fees.burn.to_le_bytes());
        data.extend([self.decimals, self.bump, self.vault_bump]);
        data
    }
}

pub fn terms() -> Terms {
    Terms {
        id: [9; 32],
        deposit: 10_000,
        deadline: 2_000,
        fees: FEES,
        decimals: DECIMALS,
        bump: 255,
        vault_bump: 255,
    }
}

/// The accounts of one lease.
#[derive(Clone)]
pub struct World {
    pub runtime: Runtime,
    pub lease: State,
    pub vault: State,
    pub mint: State,
    pub buyer: State,
    pub buyer_tokens: State,
    pub supplier_tokens: State,
    pub treasury_tokens: State,
    pub stranger_tokens: State,
}

impl World {
    pub fn new() -> World {
        let runtime = Runtime { program: [7; 32], now: 1_000 };
        let lease = runtime.find(&[b"lease", &BUYER, &terms().id]).0;
        let vault = runtime.find(&[b"vault", &lease]).0;
        World {
            runtime,
            lease: State::wallet(lease, 0).write(),
            vault: State::wallet(vault, 0).write(),
            mint: State::mint(MINT, WEALTH, DECIMALS).write(),
            buyer: State::wallet(BUYER, 1 << 40).write(),
            buyer_tokens: State::tokens([11; 32], &MINT, &BUYER, WEALTH).write(),
            supplier_tokens: State::tokens([12; 32], &MINT, &SUPPLIER, 0).write(),
            treasury_tokens: State::tokens([13; 32], &MINT, &TREASURY, 0).write(),
            stranger_tokens: State::tokens([14; 32], &MINT, &STRANGER, 0).write(),
        }
    }

    /// A world in which the lease of `terms()` is open.
    pub fn opened() -> World {
        let mut world = World::new();
        assert_eq!(world.open(&terms()), 0);
        world
    }

    /// All tokens that there are; the mint's supply says the same.
    pub fn tokens(&self) -> u64 {
        let accounts = [
            &self.vault,
            &self.buyer_tokens,
            &self.supplier_tokens,
            &self.treasury_tokens,
            &self.stranger_tokens,
        ];
        accounts.iter().map(|account| account.amount()).sum()
    }

    pub fn open_accounts(&self) -> Vec<State> {
        vec![
            self.buyer.clone().sign(),
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.buyer_tokens.clone(),
            State::wallet(SUPPLIER, 5),
            State::wallet(TREASURY, 5),
            State::wallet(system::ID, 1),
            State::wallet(token::ID, 1),
        ]
    }

    pub fn claim_accounts(&self, submitter: Key, sysvar: State) -> Vec<State> {
        vec![
            State::wallet(submitter, 5).sign(),
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.supplier_tokens.clone(),
            self.treasury_tokens.clone(),
            sysvar,
            State::wallet(token::ID, 1),
        ]
    }

    pub fn close_accounts(&self, submitter: Key) -> Vec<State> {
        let mut buyer = self.buyer.clone();
        buyer.signer = submitter == BUYER;
        let submitter = if buyer.signer { buyer.clone() } else { State::wallet(submitter, 5).sign() };
        vec![
            submitter,
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.buyer_tokens.clone(),
            buyer,
            State::wallet(token::ID, 1),
        ]
    }

    /// The 79 bytes that the buyer signs.
    pub fn message(&self, gross: u64) -> Vec<u8> {
        message(&self.runtime.program, &self.lease.key, gross)
    }

    /// The sysvar of [check of the buyer's voucher, claim].
    pub fn proof(&self, gross: u64) -> State {
        proof(ed25519(&BUYER, &self.message(gross)))
    }

    /// Takes the changed accounts back by their keys.
    pub fn take(&mut self, accounts: &[State]) {
        let own = [
            &mut self.lease,
            &mut self.vault,
            &mut self.mint,
            &mut self.buyer,
            &mut self.buyer_tokens,
            &mut self.supplier_tokens,
            &mut self.treasury_tokens,
            &mut self.stranger_tokens,
        ];
        for state in own {
            if let Some(new) = accounts.iter().find(|account| account.key == state.key) {
                state.owner = new.owner;
                state.lamports = new.lamports;
                state.data = new.data.clone();
            }
        }
    }

    pub fn run(&mut self, mut accounts: Vec<State>, data: &[u8]) -> u64 {
        let code = self.runtime.run(&mut accounts, data);
        self.take(&accounts);
        code
    }

    pub fn open(&mut self, terms: &Terms) -> u64 {
        self.run(self.open_accounts(), &terms.data())
    }

    pub fn claim(&mut self, submitter: Key, gross: u64) -> u64 {
        self.claim_with(submitter, gross, self.proof(gross))
    }

    pub fn claim_with(&mut self, submitter: Key, gross: u64, sysvar: State) -> u64 {
        self.run(self.claim_accounts(submitter, sysvar), &claim_data(gross))
    }

    pub fn close(&mut self, submitter: Key) -> u64 {
        self.run(self.close_accounts(submitter), &[2])
    }
}

pub fn claim_data(gross: u64) -> Vec<u8> {
    let mut data = vec![1];
    data.extend(gross.to_le_bytes());
    data
}

pub fn message(program: &Key, lease: &Key, gross: u64) -> Vec<u8> {
    let mut message = b"bourse1".to_vec();
    message.extend(program);
    message.extend(lease);
    message.extend(gross.to_le_bytes());
    message
}

/// The data of an Ed25519 check with all offsets inside.
pub fn ed25519(signer: &Key, message: &[u8]) -> Vec<u8> {
    let mut data = vec![1, 0, 48, 0, 255, 255, 16, 0, 255, 255, 112, 0, message.len() as u8, 0, 255, 255];
    data.extend(signer);
    data.extend([5; 64]);
    data.extend(message);
    data
}

/// The sysvar of [check, claim] while the claim runs.
pub fn proof(check: Vec<u8>) -> State {
    State::instructions(&[(voucher::ED25519, check), ([7; 32], vec![1])], 1)
}

pub fn magic(state: &State) -> u64 {
    if state.data.len() as u64 != lease::SIZE {
        return 0;
    }
    u64::from_le_bytes(state.data[..8].try_into().unwrap())
}
