// SPDX-License-Identifier: Apache-2.0
//! A small world for the tests: a market's configuration, one buyer, one supplier, a
//! treasury, an arbiter, a stranger, one lease.
#![allow(dead_code)]

use bourse::abi::Key;
use bourse::config;
use bourse::error::Error;
use bourse::fees::Fees;
use bourse::host::{Runtime, State};
use bourse::{lease, system, token, voucher};

pub const MINT: Key = [20; 32];
pub const BUYER: Key = [1; 32];
pub const SUPPLIER: Key = [2; 32];
pub const TREASURY: Key = [4; 32];
pub const ARBITER: Key = [5; 32];
pub const AUTHORITY: Key = [6; 32];
/// The market's own token.
pub const IO: Key = [21; 32];
pub const STRANGER: Key = [8; 32];
pub const DECIMALS: u8 = 6;
pub const WEALTH: u64 = 1_000_000;
pub const FEES: Fees = Fees { buyer: 225, supplier: 25, burn: 4_000 };
/// The time lock of the market.
pub const LOCK: u32 = 7_200;
/// When the tests begin.
pub const START: i64 = 1_000;

/// A small generator of reproducible numbers.
pub struct Random(pub u64);

impl Random {
    /// The numbers of this seed, or of the one that the environment names.
    pub fn seeded(seed: u64) -> Random {
        let Ok(named) = std::env::var("BOURSE_TEST_SEED") else { return Random(seed) };
        let named: std::num::NonZeroU64 = named.parse().expect("BOURSE_TEST_SEED is a number above zero");
        Random(named.get())
    }
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
    pub arbiter_cap: u16,
    pub dispute_delay: u32,
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
        data.extend(self.arbiter_cap.to_le_bytes());
        data.extend(self.dispute_delay.to_le_bytes());
        data.extend([self.decimals, self.bump, self.vault_bump]);
        data
    }
}

/// A lease with arbitration: at most a fifth of the deposit, 100 seconds after a dispute.
pub fn terms() -> Terms {
    Terms {
        id: [9; 32],
        deposit: 10_000,
        deadline: 2_000,
        fees: FEES,
        arbiter_cap: 2_000,
        dispute_delay: 100,
        decimals: DECIMALS,
        bump: 255,
        vault_bump: 255,
    }
}

/// A lease without arbitration.
pub fn plain_terms() -> Terms {
    Terms { arbiter_cap: 0, dispute_delay: 0, ..terms() }
}

/// What the market asks and allows.
pub fn market() -> config::Terms {
    config::Terms {
        treasury: TREASURY,
        arbiter: ARBITER,
        max_buyer_fee: 1_000,
        max_supplier_fee: 1_000,
        max_arbiter_cap: 5_000,
        max_slash: 1_000,
        max_delegation: 10_000,
        reserved: 0,
        min_dispute_delay: 50,
        slash_window: 86_400,
        slash_hold: 172_800,
        cooldown: 1_209_600,
    }
}

/// The 92 bytes of a market's terms.
pub fn market_bytes(terms: &config::Terms) -> Vec<u8> {
    let mut data = terms.treasury.to_vec();
    data.extend(terms.arbiter);
    for bps in [
        terms.max_buyer_fee,
        terms.max_supplier_fee,
        terms.max_arbiter_cap,
        terms.max_slash,
        terms.max_delegation,
        terms.reserved,
    ] {
        data.extend(bps.to_le_bytes());
    }
    for seconds in [terms.min_dispute_delay, terms.slash_window, terms.slash_hold, terms.cooldown] {
        data.extend(seconds.to_le_bytes());
    }
    data
}

pub fn create_data(lock: u32, terms: &config::Terms, bump: u8) -> Vec<u8> {
    let mut data = vec![7];
    data.extend(lock.to_le_bytes());
    data.extend(market_bytes(terms));
    data.push(bump);
    data
}

pub fn propose_data(terms: &config::Terms) -> Vec<u8> {
    let mut data = vec![8];
    data.extend(market_bytes(terms));
    data
}

/// The accounts of one market and one lease.
#[derive(Clone)]
pub struct World {
    pub runtime: Runtime,
    pub authority: State,
    pub config: State,
    pub io: State,
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
    /// A world in which nothing has been made yet.
    pub fn empty() -> World {
        let runtime = Runtime { program: [7; 32], now: START };
        let config = runtime.find(&[b"config", &AUTHORITY]).0;
        let lease = runtime.find(&[b"lease", &BUYER, &terms().id]).0;
        let vault = runtime.find(&[b"vault", &lease]).0;
        World {
            runtime,
            authority: State::wallet(AUTHORITY, 1 << 40).write(),
            config: State::wallet(config, 0).write(),
            io: State::mint(IO, WEALTH, 8).write(),
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

    /// A world with a market.
    pub fn new() -> World {
        World::of(&market())
    }

    /// A world with a market of these terms.
    pub fn of(market: &config::Terms) -> World {
        let mut world = World::empty();
        assert_eq!(world.create(LOCK, market), 0);
        world
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

    pub fn create_accounts(&self) -> Vec<State> {
        vec![
            self.authority.clone().sign(),
            self.config.clone(),
            self.io.clone(),
            State::wallet(system::ID, 1),
        ]
    }

    pub fn propose_accounts(&self) -> Vec<State> {
        vec![self.authority.clone().sign(), self.config.clone()]
    }

    pub fn open_accounts(&self) -> Vec<State> {
        self.open_accounts_with(ARBITER)
    }

    /// The accounts of an opening with this arbiter, or with none, which is the zero key.
    pub fn open_accounts_with(&self, arbiter: Key) -> Vec<State> {
        vec![
            self.buyer.clone().sign(),
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.buyer_tokens.clone(),
            State::wallet(SUPPLIER, 5),
            State::wallet(TREASURY, 5),
            State::wallet(arbiter, 1),
            self.config.clone(),
            State::wallet(system::ID, 1),
            State::wallet(token::ID, 1),
        ]
    }

    pub fn top_up_accounts(&self) -> Vec<State> {
        vec![
            self.buyer.clone().sign(),
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.buyer_tokens.clone(),
            State::wallet(token::ID, 1),
        ]
    }

    /// The accounts of an extension or a dispute.
    pub fn signed_accounts(&self, signer: Key) -> Vec<State> {
        vec![State::wallet(signer, 5).sign(), self.lease.clone()]
    }

    pub fn award_accounts(&self, arbiter: Key) -> Vec<State> {
        vec![
            State::wallet(arbiter, 5).sign(),
            self.lease.clone(),
            self.vault.clone(),
            self.mint.clone(),
            self.supplier_tokens.clone(),
            self.treasury_tokens.clone(),
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
            &mut self.authority,
            &mut self.config,
            &mut self.io,
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

    pub fn create(&mut self, lock: u32, terms: &config::Terms) -> u64 {
        self.run(self.create_accounts(), &create_data(lock, terms, 255))
    }

    pub fn propose(&mut self, terms: &config::Terms) -> u64 {
        self.run(self.propose_accounts(), &propose_data(terms))
    }

    pub fn apply(&mut self) -> u64 {
        self.run(vec![self.config.clone()], &[9])
    }

    pub fn open(&mut self, terms: &Terms) -> u64 {
        let arbiter = if terms.arbiter_cap > 0 { ARBITER } else { [0; 32] };
        self.run(self.open_accounts_with(arbiter), &terms.data())
    }

    pub fn top_up(&mut self, amount: u64) -> u64 {
        self.run(self.top_up_accounts(), &number_data(3, amount))
    }

    pub fn extend(&mut self, signer: Key, deadline: i64) -> u64 {
        self.run(self.signed_accounts(signer), &number_data(4, deadline as u64))
    }

    pub fn dispute(&mut self, signer: Key, gross: u64) -> u64 {
        self.run(self.signed_accounts(signer), &number_data(5, gross))
    }

    pub fn award(&mut self, signer: Key, gross: u64) -> u64 {
        self.run(self.award_accounts(signer), &number_data(6, gross))
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

/// The data of an instruction that takes one number.
pub fn number_data(instruction: u8, number: u64) -> Vec<u8> {
    let mut data = vec![instruction];
    data.extend(number.to_le_bytes());
    data
}

pub fn claim_data(gross: u64) -> Vec<u8> {
    number_data(1, gross)
}

/// Runs an instruction that must be refused with `want` and must change nothing.
#[track_caller]
pub fn refused(world: &World, accounts: Vec<State>, data: &[u8], want: Error) {
    let mut after = accounts.clone();
    assert_eq!(world.runtime.run(&mut after, data), want.code());
    assert_eq!(after, accounts);
}

pub fn message(program: &Key, lease: &Key, gross: u64) -> Vec<u8> {
    let mut message = b"bourse2".to_vec();
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
