// SPDX-License-Identifier: Apache-2.0
//! The configuration account: what one market may ask of those who trade in it.
//!
//! There is one for each authority. Leases copy from it what concerns them when they
//! are opened, so no later change touches them. A change of the terms is proposed
//! first, and holds only after the time lock that the market was created with.

use crate::abi::{Account, Key, Plain, Seed};
use crate::error::{check, Error, Result};
use crate::fees::{MAX_FEE, WHOLE};

/// The first eight bytes of a configuration.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bourse2\x10");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The size of a configuration account.
pub const SIZE: u64 = size_of::<Config>() as u64;

/// The shortest time lock in seconds, and the shortest slash window and slash hold of a
/// market that slashes: one hour.
pub const MIN_LOCK: u32 = 3_600;
/// The longest time lock in seconds: one year.
pub const MAX_LOCK: u32 = 365 * 86_400;
/// The longest dispute delay, slash window and slash hold in seconds: 30 days.
pub const MAX_DELAY: u32 = 30 * 86_400;
/// The longest cooldown in seconds: 90 days.
pub const MAX_COOLDOWN: u32 = 90 * 86_400;
/// The most that any award may cost, in basis points of a deposit.
pub const MAX_ARBITER_CAP: u16 = 5_000;

/// What a market asks and allows, 92 bytes: the same in the account and in instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Terms {
    /// Who gets the market's part of the fees.
    pub treasury: Key,
    /// Who may award after a dispute, and decides appeals; zero if nobody may.
    pub arbiter: Key,
    /// The most that a lease may charge its buyer, in basis points.
    pub max_buyer_fee: u16,
    /// The most that a lease may charge its supplier, in basis points.
    pub max_supplier_fee: u16,
    /// The most that an award may cost, in basis points of a lease's deposit.
    pub max_arbiter_cap: u16,
    /// The most that may be slashed of a pool in 30 days, in basis points.
    pub max_slash: u16,
    /// The most that a pool may hold for others, in basis points of its owner's stake.
    pub max_delegation: u16,
    /// Zero.
    pub reserved: u16,
    /// The shortest dispute delay of a lease with arbitration, in seconds.
    pub min_dispute_delay: u32,
    /// How long a slash can be appealed, in seconds.
    pub slash_window: u32,
    /// How long an appeal holds a slash, in seconds.
    pub slash_hold: u32,
    /// How long stake that was unbonded stays, in seconds.
    pub cooldown: u32,
}

/// A configuration, exactly as its account holds it: little endian, no padding, 272 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    /// [`MAGIC`].
    pub magic: u64,
    /// Who proposes terms and slashes, and posts rewards.
    pub authority: Key,
    /// The market's own token: of stakes and rewards, not of leases.
    pub mint: Key,
    /// Unix seconds from which the pending terms can be applied; zero if none are pending.
    pub change_at: i64,
    /// The time lock in seconds.
    pub delay: u32,
    /// The mint's decimals.
    pub decimals: u8,
    /// The canonical bump of the account's address.
    pub bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: u8,
    /// The terms that hold.
    pub current: Terms,
    /// The proposed terms; the current ones if nothing is pending.
    pub pending: Terms,
}

const _: () = assert!(size_of::<Terms>() == 92 && align_of::<Terms>() == 4);
const _: () = assert!(size_of::<Config>() == 272 && align_of::<Config>() == 8);

// Safety: repr(C); the assertions above and the sums of the field sizes leave no
// room for padding; all fields are integers or arrays of them.
unsafe impl Plain for Terms {}
unsafe impl Plain for Config {}

impl Terms {
    /// Refuses terms that no market may have.
    #[inline(never)]
    pub fn check(&self) -> Result {
        let arbitrates = self.max_arbiter_cap > 0;
        check(self.treasury != [0; 32] && (!arbitrates || self.arbiter != [0; 32]), Error::PARTY)?;
        check(self.max_buyer_fee <= MAX_FEE && self.max_supplier_fee <= MAX_FEE, Error::AMOUNT)?;
        check(self.max_arbiter_cap <= MAX_ARBITER_CAP, Error::AMOUNT)?;
        check(self.max_slash <= WHOLE && self.max_delegation <= WHOLE, Error::AMOUNT)?;
        check(self.reserved == 0, Error::AMOUNT)?;
        check(self.min_dispute_delay <= MAX_DELAY && self.slash_window <= MAX_DELAY, Error::TIME)?;
        check(self.slash_hold <= MAX_DELAY && self.cooldown <= MAX_COOLDOWN, Error::TIME)?;
        // A slash that cannot be appealed, or ends before anybody can execute it, is none.
        let least = if self.max_slash > 0 { MIN_LOCK } else { 0 };
        check(self.slash_window >= least && self.slash_hold >= least, Error::TIME)
    }
}

impl Config {
    /// Reads a configuration of this program. That its address is canonical was
    /// checked when it was made; whose it is, the caller sees in the record.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == MAGIC && self.version == VERSION, Error::STATE)
    }
}

/// The seeds of a configuration's address, without the bump.
#[inline(always)]
pub fn address_seeds(authority: &Key) -> [Seed<'_>; 2] {
    [Seed::new(b"config"), Seed::new(authority)]
}
