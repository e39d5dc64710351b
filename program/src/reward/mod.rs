// SPDX-License-Identifier: Apache-2.0
//! Rewards: a vault from which many wallets are paid what a list says.
//!
//! The market's authority posts the root of a tree of hashes for each epoch. Its leaves
//! say what each wallet has earned in all epochs together, and a receipt says how much
//! of it the wallet has had. So a wallet that comes late misses nothing, and no proof
//! pays twice. The tokens leave the vault by claims only.

use crate::abi::{is_derived, Account, Key, Plain, Seed};
use crate::error::{check, Error, Result};
use core::slice;

pub mod claim;
pub mod create;
pub mod post;
pub mod receipt;
pub mod tree;

/// The first eight bytes of a rewards account.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bourse2\x30");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The size of a rewards account.
pub const SIZE: u64 = size_of::<Rewards>() as u64;

/// The rewards of a market, exactly as their account holds them: little endian, no
/// padding, 136 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Rewards {
    /// [`MAGIC`].
    pub magic: u64,
    /// The market's configuration.
    pub config: Key,
    /// The token of the rewards.
    pub mint: Key,
    /// The root of the newest tree.
    pub root: Key,
    /// Its number: the first is 1.
    pub epoch: u64,
    /// What all wallets together can claim in all.
    pub total: u64,
    /// What they have claimed.
    pub claimed: u64,
    /// The mint's decimals.
    pub decimals: u8,
    /// The canonical bump of the account's address.
    pub bump: u8,
    /// The canonical bump of the vault's address.
    pub vault_bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 4],
}

const _: () = assert!(size_of::<Rewards>() == 136 && align_of::<Rewards>() == 8);

// Safety: repr(C); the assertion above and the sum of the field sizes leave no room for
// padding; all fields are integers or arrays of them.
unsafe impl Plain for Rewards {}

impl Rewards {
    /// Reads a rewards account of this program.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == MAGIC && self.version == VERSION, Error::STATE)
    }

    /// The seeds with which the account's address signs.
    #[inline(always)]
    pub fn seeds(&self) -> [Seed<'_>; 3] {
        let [tag, config] = address_seeds(&self.config);
        [tag, config, Seed::new(slice::from_ref(&self.bump))]
    }

    /// Refuses a vault that is not the one of these rewards.
    #[inline(always)]
    pub fn check_vault(&self, program: &Key, rewards: &Key, vault: &Key) -> Result {
        let [tag, key] = vault_seeds(rewards);
        let seeds = [tag, key, Seed::new(slice::from_ref(&self.vault_bump))];
        check(is_derived(&seeds, program, vault), Error::PDA)
    }
}

/// The seeds of the address of a market's rewards, without the bump.
#[inline(always)]
pub fn address_seeds(config: &Key) -> [Seed<'_>; 2] {
    [Seed::new(b"rewards"), Seed::new(config)]
}

/// The seeds of the address of their vault, without the bump.
#[inline(always)]
pub fn vault_seeds(rewards: &Key) -> [Seed<'_>; 2] {
    [Seed::new(b"rewards-vault"), Seed::new(rewards)]
}
