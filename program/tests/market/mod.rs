// SPDX-License-Identifier: Apache-2.0
//! A market for the tests: a configuration, pools and rewards, and everybody who uses them.
#![allow(dead_code)]

use bourse::abi::Key;
use bourse::config;
use bourse::error::Error;
use bourse::host::{Runtime, State};
use bourse::{instruction, system, token};
use std::collections::BTreeMap;

pub const AUTHORITY: Key = [1; 32];
pub const OWNER: Key = [2; 32];
pub const ALICE: Key = [3; 32];
pub const BOB: Key = [4; 32];
pub const ARBITER: Key = [5; 32];
pub const STRANGER: Key = [8; 32];
pub const TREASURY: Key = [9; 32];
pub const EVERYBODY: [Key; 6] = [AUTHORITY, OWNER, ALICE, BOB, ARBITER, STRANGER];

pub const MINT: Key = [20; 32];
pub const OTHER_MINT: Key = [21; 32];
pub const DECIMALS: u8 = 8;
pub const WEALTH: u64 = 1_000_000_000;
pub const NOW: i64 = 1_700_000_000;
pub const DAY: i64 = 86_400;
pub const EVIDENCE: Key = [0xee; 32];

/// The terms of a configuration.
#[derive(Clone, Copy)]
pub struct Terms {
    pub arbiter: Key,
    pub max_slash: u16,
    pub max_delegation: u16,
    pub slash_window: u32,
    pub slash_hold: u32,
    pub cooldown: u32,
}

pub const TERMS: Terms = Terms {
    arbiter: ARBITER,
    max_slash: 1_000,
    max_delegation: 10_000,
    slash_window: 7 * DAY as u32,
    slash_hold: 30 * DAY as u32,
    cooldown: 14 * DAY as u32,
};

impl Terms {
    /// The 92 bytes that instructions take.
    pub fn bytes(&self) -> Vec<u8> {
        let mut data = TREASURY.to_vec();
        data.extend(self.arbiter);
        for bps in [225u16, 25, 0, self.max_slash, self.max_delegation, 0] {
            data.extend(bps.to_le_bytes());
        }
        for seconds in [0, self.slash_window, self.slash_hold, self.cooldown] {
            data.extend(seconds.to_le_bytes());
        }
        data
    }
}

/// How an instruction names an account.
#[derive(Clone, Copy)]
pub struct Meta {
    pub key: Key,
    pub signer: bool,
    pub writable: bool,
}

pub fn read(key: Key) -> Meta {
    Meta { key, signer: false, writable: false }
}

pub fn write(key: Key) -> Meta {
    Meta { writable: true, ..read(key) }
}

pub fn sign(key: Key) -> Meta {
    Meta { signer: true, ..read(key) }
}

/// One instruction, free to be wrong.
#[derive(Clone)]
pub struct Call {
    pub accounts: Vec<Meta>,
    pub data: Vec<u8>,
}

impl Call {
    fn new(number: u8, accounts: &[Meta]) -> Call {
        Call { accounts: accounts.to_vec(), data: vec![number] }
    }
    fn arg(mut self, bytes: &[u8]) -> Call {
        self.data.extend(bytes);
        self
    }
    /// The same with another account.
    pub fn with(&self, at: usize, meta: Meta) -> Call {
        let mut call = self.clone();
        call.accounts[at] = meta;
        call
    }
    /// The same with other bytes at a place of the data.
    pub fn bytes(&self, at: usize, bytes: &[u8]) -> Call {
        let mut call = self.clone();
        call.data[at..at + bytes.len()].copy_from_slice(bytes);
        call
    }
}

/// All accounts that there are.
#[derive(Clone)]
pub struct Market {
    pub runtime: Runtime,
    pub ledger: BTreeMap<Key, State>,
    pub config: Key,
}

/// Somebody's account for a mint.
pub fn tokens_of(owner: Key, mint: Key) -> Key {
    let mut key = owner;
    key[0] = 0xa0 + mint[0];
    key
}

pub fn tokens(owner: Key) -> Key {
    tokens_of(owner, MINT)
}

impl Market {
    /// A market with these terms; everybody has tokens.
    pub fn with(terms: Terms) -> Market {
        let runtime = Runtime { program: [7; 32], now: NOW };
        let config = runtime.find(&[b"config", &AUTHORITY]).0;
        let mut market = Market { runtime, ledger: BTreeMap::new(), config };
        for key in EVERYBODY {
            market.put(State::wallet(key, 1 << 40));
            market.put(State::tokens(tokens(key), &MINT, &key, WEALTH));
            market.put(State::tokens(tokens_of(key, OTHER_MINT), &OTHER_MINT, &key, WEALTH));
        }
        market.put(State::mint(MINT, WEALTH * EVERYBODY.len() as u64, DECIMALS));
        market.put(State::mint(OTHER_MINT, WEALTH * EVERYBODY.len() as u64, DECIMALS));
        assert_eq!(market.send(&market.create_config(AUTHORITY, MINT, terms)), 0);
        market
    }

    pub fn new() -> Market {
        Market::with(TERMS)
    }

    /// A market with a pool of the owner's.
    pub fn opened() -> Market {
        let mut market = Market::new();
        assert_eq!(market.send(&market.create(OWNER)), 0);
        market
    }

    pub fn put(&mut self, state: State) {
        self.ledger.insert(state.key, state);
    }

    pub fn state(&self, key: Key) -> State {
        self.ledger.get(&key).cloned().unwrap_or_else(|| State::wallet(key, 0))
    }

    pub fn amount(&self, tokens: Key) -> u64 {
        self.state(tokens).amount()
    }

    pub fn supply(&self) -> u64 {
        self.state(MINT).supply()
    }

    /// Runs an instruction; one that is refused changes nothing.
    pub fn send(&mut self, call: &Call) -> u64 {
        let mut accounts: Vec<State> = call
            .accounts
            .iter()
            .map(|meta| State { signer: meta.signer, writable: meta.writable, ..self.state(meta.key) })
            .collect();
        let before = accounts.clone();
        let code = self.runtime.run(&mut accounts, &call.data);
        if code != 0 {
            assert_eq!(before, accounts);
            return code;
        }
        for state in accounts {
            self.put(state);
        }
        0
    }

    /// Runs an instruction that must succeed.
    #[track_caller]
    pub fn done(&mut self, call: Call) {
        assert_eq!(self.send(&call), 0);
    }

    /// Runs an instruction that must be refused with `want`; `send` makes sure that it changes nothing.
    #[track_caller]
    pub fn refused(&self, call: &Call, want: Error) {
        assert_eq!(self.clone().send(call), want.code());
    }

    pub fn wait(&mut self, seconds: i64) {
        self.runtime.now += seconds;
    }

    fn find(&self, seeds: &[&[u8]]) -> Key {
        self.runtime.find(seeds).0
    }

    pub fn pool(&self, owner: Key) -> Key {
        self.find(&[b"pool", &self.config, &owner])
    }

    pub fn vault(&self, owner: Key) -> Key {
        self.find(&[b"pool-vault", &self.pool(owner)])
    }

    pub fn position(&self, owner: Key, staker: Key) -> Key {
        self.find(&[b"position", &self.pool(owner), &staker])
    }

    pub fn rewards(&self) -> Key {
        self.find(&[b"rewards", &self.config])
    }

    pub fn rewards_vault(&self) -> Key {
        self.find(&[b"rewards-vault", &self.rewards()])
    }

    pub fn receipt(&self, wallet: Key) -> Key {
        self.find(&[b"reward", &self.rewards(), &wallet])
    }

    pub fn create_config(&self, authority: Key, mint: Key, terms: Terms) -> Call {
        let config = self.find(&[b"config", &authority]);
        let accounts =
            [Meta { writable: true, ..sign(authority) }, write(config), read(mint), read(system::ID)];
        Call::new(instruction::CONFIG_CREATE, &accounts)
            .arg(&config::MIN_LOCK.to_le_bytes())
            .arg(&terms.bytes())
            .arg(&[255])
    }

    pub fn change_config(&self, terms: Terms) -> Call {
        let accounts = [sign(AUTHORITY), write(self.config)];
        Call::new(instruction::CONFIG_PROPOSE, &accounts).arg(&terms.bytes())
    }

    pub fn apply_config(&self) -> Call {
        Call::new(instruction::CONFIG_APPLY, &[write(self.config)])
    }

    pub fn create(&self, owner: Key) -> Call {
        let accounts = [
            Meta { writable: true, ..sign(owner) },
            read(self.config),
            write(self.pool(owner)),
            write(self.vault(owner)),
            read(MINT),
            read(system::ID),
            read(token::ID),
        ];
        Call::new(instruction::POOL_CREATE, &accounts).arg(&[255, 255])
    }

    pub fn bond(&self, staker: Key, amount: u64) -> Call {
        let accounts = [
            Meta { writable: true, ..sign(staker) },
            read(self.config),
            write(self.pool(OWNER)),
            write(self.position(OWNER, staker)),
            write(self.vault(OWNER)),
            read(MINT),
            write(tokens(staker)),
            read(system::ID),
            read(token::ID),
        ];
        Call::new(instruction::BOND, &accounts).arg(&amount.to_le_bytes()).arg(&[255])
    }

    pub fn unbond(&self, staker: Key, shares: u64) -> Call {
        let accounts =
            [sign(staker), read(self.config), write(self.pool(OWNER)), write(self.position(OWNER, staker))];
        Call::new(instruction::UNBOND, &accounts).arg(&shares.to_le_bytes())
    }

    pub fn withdraw(&self, staker: Key) -> Call {
        let accounts = [
            sign(staker),
            write(self.pool(OWNER)),
            write(self.position(OWNER, staker)),
            write(self.vault(OWNER)),
            read(MINT),
            write(tokens(staker)),
            read(token::ID),
        ];
        Call::new(instruction::WITHDRAW, &accounts)
    }

    pub fn propose(&self, amount: u64) -> Call {
        let accounts = [sign(AUTHORITY), read(self.config), write(self.pool(OWNER))];
        Call::new(instruction::SLASH_PROPOSE, &accounts).arg(&amount.to_le_bytes()).arg(&[3]).arg(&EVIDENCE)
    }

    pub fn appeal(&self, number: u32) -> Call {
        let accounts = [sign(OWNER), write(self.pool(OWNER))];
        Call::new(instruction::APPEAL, &accounts).arg(&number.to_le_bytes())
    }

    pub fn execute(&self, submitter: Key, number: u32) -> Call {
        let accounts = [
            sign(submitter),
            write(self.pool(OWNER)),
            write(self.vault(OWNER)),
            write(MINT),
            read(token::ID),
        ];
        Call::new(instruction::SLASH_EXECUTE, &accounts).arg(&number.to_le_bytes())
    }

    pub fn drop_slash(&self, submitter: Key, number: u32) -> Call {
        let accounts = [sign(submitter), read(self.config), write(self.pool(OWNER))];
        Call::new(instruction::SLASH_DROP, &accounts).arg(&number.to_le_bytes())
    }

    pub fn create_rewards(&self) -> Call {
        let accounts = [
            Meta { writable: true, ..sign(AUTHORITY) },
            read(self.config),
            write(self.rewards()),
            write(self.rewards_vault()),
            read(MINT),
            read(system::ID),
            read(token::ID),
        ];
        Call::new(instruction::REWARDS_CREATE, &accounts).arg(&[255, 255])
    }

    pub fn post(&self, epoch: u64, total: u64, root: Key) -> Call {
        let accounts =
            [sign(AUTHORITY), read(self.config), write(self.rewards()), read(self.rewards_vault())];
        Call::new(instruction::REWARDS_POST, &accounts)
            .arg(&epoch.to_le_bytes())
            .arg(&total.to_le_bytes())
            .arg(&root)
    }

    pub fn claim(&self, submitter: Key, wallet: Key, amount: u64, proof: &[Key]) -> Call {
        let accounts = [
            Meta { writable: true, ..sign(submitter) },
            write(self.rewards()),
            write(self.rewards_vault()),
            write(self.receipt(wallet)),
            read(wallet),
            write(tokens(wallet)),
            read(MINT),
            read(system::ID),
            read(token::ID),
        ];
        Call::new(instruction::REWARDS_CLAIM, &accounts)
            .arg(&amount.to_le_bytes())
            .arg(&[255])
            .arg(&proof.concat())
    }

    /// A number of the pool's account.
    pub fn pool_word(&self, at: usize) -> u64 {
        word(&self.state(self.pool(OWNER)), at)
    }

    /// A number of a staker's position; zero without one.
    pub fn position_word(&self, staker: Key, at: usize) -> u64 {
        word(&self.state(self.position(OWNER, staker)), at)
    }

    pub fn total(&self) -> u64 {
        self.pool_word(104)
    }

    pub fn shares(&self) -> u64 {
        self.pool_word(112)
    }
}

fn word(state: &State, at: usize) -> u64 {
    state.data.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}
