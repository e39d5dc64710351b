// SPDX-License-Identifier: Apache-2.0
//! The account of a pool, and what its shares are worth.

use crate::abi::{is_derived, Account, Key, Plain, Seed};
use crate::config::Config;
use crate::error::{check, Error, Result};
use crate::fees::part;
use crate::muldiv;
use core::slice;

/// The first eight bytes of a pool.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bourse2\x20");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The size of a pool's account.
pub const SIZE: u64 = size_of::<Pool>() as u64;
/// The seconds in which a share can lose no more than the config's `max_slash`.
pub const PERIOD: i64 = 30 * 86_400;
/// The seconds after a slash in which there can be no other: stake that is unlocked can
/// leave then, so that no row of proposals can hold it for ever.
pub const CALM: i64 = 86_400;

/// No slash is pending.
pub const NONE: u8 = 0;
/// A slash waits for its window to end.
pub const PROPOSED: u8 = 1;
/// The owner has appealed: the arbiter decides.
pub const APPEALED: u8 = 2;

/// A slash that was proposed and is neither executed nor dropped; all zero if there is none.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Slash {
    /// What will be burned.
    pub amount: u64,
    /// When it was proposed, in Unix seconds.
    pub proposed_at: i64,
    /// Until when the owner can appeal. Without an appeal anybody can execute it from then on.
    pub appeal_until: i64,
    /// When it ends, unless it was executed.
    pub decide_until: i64,
    /// The digest of the evidence.
    pub evidence: Key,
    /// Who decides an appeal: the config's arbiter at the time of the proposal.
    pub arbiter: Key,
}

/// A pool, exactly as its account holds it: little endian, no padding, 288 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Pool {
    /// [`MAGIC`].
    pub magic: u64,
    /// The market's configuration.
    pub config: Key,
    /// The supplier whose pool it is.
    pub owner: Key,
    /// The token of the stakes.
    pub mint: Key,
    /// What all shares are worth together. It is counted: tokens that somebody sends to
    /// the vault belong to nobody.
    pub total: u64,
    /// All shares, those that are being unbonded included.
    pub shares: u64,
    /// The owner's shares that are bonded.
    pub own_shares: u64,
    /// Everybody's shares that are being unbonded.
    pub unbonding_shares: u64,
    /// What slashes have burned in all.
    pub slashed: u64,
    /// When a slash was last executed, in Unix seconds; zero if never.
    pub slashed_at: i64,
    /// With the next: what a share was worth when the current period of slashes began.
    pub mark_total: u64,
    /// Zero if no such period has begun.
    pub mark_shares: u64,
    /// No slash can be proposed before.
    pub calm_until: i64,
    /// The pending slash.
    pub slash: Slash,
    /// The number of the last slash that was proposed.
    pub slash_number: u32,
    /// [`NONE`], [`PROPOSED`] or [`APPEALED`].
    pub slash_state: u8,
    /// What kind of misconduct the pending slash is for. The market gives it a meaning.
    pub slash_reason: u8,
    /// The mint's decimals.
    pub decimals: u8,
    /// The canonical bump of the pool's address.
    pub bump: u8,
    /// The canonical bump of the vault's address.
    pub vault_bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Slash>() == 96 && align_of::<Slash>() == 8);
const _: () = assert!(size_of::<Pool>() == 288 && align_of::<Pool>() == 8);

// Safety: repr(C); the assertions above and the sums of the field sizes leave no room
// for padding; all fields are integers or arrays of them.
unsafe impl Plain for Pool {}

impl Slash {
    /// No slash.
    pub const NONE: Slash = Slash {
        amount: 0,
        proposed_at: 0,
        appeal_until: 0,
        decide_until: 0,
        evidence: [0; 32],
        arbiter: [0; 32],
    };
}

impl Pool {
    /// Reads a pool of this program.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == MAGIC && self.version == VERSION, Error::STATE)
    }

    /// Reads the configuration to which the pool belongs.
    #[inline(always)]
    pub fn market(&self, program: &Key, config: &Account) -> Result<Config> {
        let mut market = Config::empty();
        market.load(program, config)?;
        check(self.config == *config.key(), Error::PARTY)?;
        Ok(market)
    }

    /// The seeds with which the pool's address signs.
    #[inline(always)]
    pub fn seeds(&self) -> [Seed<'_>; 4] {
        let [tag, config, owner] = address_seeds(&self.config, &self.owner);
        [tag, config, owner, Seed::new(slice::from_ref(&self.bump))]
    }

    /// Refuses a vault that is not this pool's.
    #[inline(always)]
    pub fn check_vault(&self, program: &Key, pool: &Key, vault: &Key) -> Result {
        let [tag, key] = vault_seeds(pool);
        let seeds = [tag, key, Seed::new(slice::from_ref(&self.vault_bump))];
        check(is_derived(&seeds, program, vault), Error::PDA)
    }

    /// Writes to `out` how many shares a bond of `amount` gets: one for a unit at first,
    /// then as many as the amount is worth, rounded down. As a share is worth at most one
    /// unit, an amount of at least one gets at least one.
    #[inline(always)]
    pub fn shares_for(&self, amount: u64, out: &mut u64) -> Result {
        if self.shares == 0 {
            *out = amount;
            return Ok(());
        }
        muldiv::floor(amount, self.shares, self.total, out)
    }

    /// Writes to `out` what `shares` are worth, rounded down.
    #[inline(always)]
    pub fn worth(&self, shares: u64, out: &mut u64) -> Result {
        muldiv::floor(shares, self.total, self.shares, out)
    }

    /// Refuses if delegators have bonded more than `limit` allows: basis points of the
    /// owner's bonded stake. Shares of one pool compare like what they are worth.
    #[inline(always)]
    pub fn check_delegation(&self, limit: u16) -> Result {
        let bonded = self.shares.checked_sub(self.unbonding_shares).ok_or(Error::STATE)?;
        let delegated = bonded.checked_sub(self.own_shares).ok_or(Error::STATE)?;
        check(delegated <= part(self.own_shares, limit), Error::CAP)
    }

    /// Begins a period of slashes if none has been executed for so long: the worth of a
    /// share now is the one from which its losses count.
    #[inline(always)]
    pub fn mark(&mut self, now: i64) {
        if self.mark_shares == 0 || now >= self.slashed_at.saturating_add(PERIOD) {
            (self.mark_total, self.mark_shares) = (self.total, self.shares);
        }
    }

    /// Refuses a slash by which a share would lose more than `limit` basis points of its
    /// worth since the mark. It is the worth of a share that counts and not the pool's:
    /// what is bonded and withdrawn between two slashes makes no difference to it.
    #[inline(always)]
    pub fn check_cap(&self, amount: u64, limit: u16) -> Result {
        let keep = self.mark_total.checked_sub(part(self.mark_total, limit)).ok_or(Error::STATE)?;
        let mut least = 0;
        muldiv::ceil(self.shares, keep, self.mark_shares, &mut least)?;
        let left = self.total.checked_sub(amount).ok_or(Error::AMOUNT)?;
        check(left >= least, Error::CAP)
    }

    /// Refuses unless the pending slash has this number. Whoever signs names it, so that
    /// a signature for one slash cannot decide about the next.
    #[inline(always)]
    pub fn check_slash(&self, number: u32) -> Result {
        check(self.slash_state != NONE && self.slash_number == number, Error::STATE)
    }

    /// Ends the pending slash.
    #[inline(always)]
    pub fn end_slash(&mut self, now: i64) {
        self.slash = Slash::NONE;
        self.slash_state = NONE;
        self.slash_reason = 0;
        self.calm_until = now.saturating_add(CALM);
    }
}

/// The seeds of a pool's address, without the bump.
#[inline(always)]
pub fn address_seeds<'a>(config: &'a Key, owner: &'a Key) -> [Seed<'a>; 3] {
    [Seed::new(b"pool"), Seed::new(config), Seed::new(owner)]
}

/// The seeds of the address of a pool's vault, without the bump.
#[inline(always)]
pub fn vault_seeds(pool: &Key) -> [Seed<'_>; 2] {
    [Seed::new(b"pool-vault"), Seed::new(pool)]
}
