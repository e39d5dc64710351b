// SPDX-License-Identifier: Apache-2.0
//! The lease account and the addresses that belong to it.

use crate::abi::{is_derived, Account, Key, Plain, Seed};
use crate::error::{check, Error, Result};
use crate::fees::Fees;
use core::slice;

/// The first eight bytes of a lease that is open.
pub const OPEN: u64 = u64::from_le_bytes(*b"bourse2\x01");
/// The first eight bytes of a lease that was closed. The account stays as a
/// tombstone, so that its id can never be used again and no old voucher revives.
pub const CLOSED: u64 = u64::from_le_bytes(*b"bourse2\x02");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The furthest that a deadline may be ahead, in seconds: two years. A deadline by
/// mistake in milliseconds would lock a deposit for good.
pub const MAX_TERM: i64 = 731 * 86_400;
/// The size of a lease account.
pub const SIZE: u64 = size_of::<Lease>() as u64;

/// A lease, exactly as its account holds it: little endian, no padding, 256 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Lease {
    /// [`OPEN`] or [`CLOSED`].
    pub magic: u64,
    /// Who deposited, and whose vouchers count.
    pub buyer: Key,
    /// Who is paid.
    pub supplier: Key,
    /// Who may award after a dispute; zero if nobody may.
    pub arbiter: Key,
    /// Who gets the market's part of the fees.
    pub treasury: Key,
    /// The token that the lease is paid in.
    pub mint: Key,
    /// The buyer's name for the lease.
    pub id: Key,
    /// What the buyer deposited, top-ups included. No claim can cost more.
    pub deposit: u64,
    /// The cumulative gross amount claimed so far.
    pub paid: u64,
    /// Unix seconds. Afterwards anybody may close the lease.
    pub deadline: i64,
    /// The buyer's fee in basis points, on top of the gross amount.
    pub buyer_fee: u16,
    /// The supplier's fee in basis points, out of the gross amount.
    pub supplier_fee: u16,
    /// The burned part of both fees in basis points.
    pub burn: u16,
    /// The mint's decimals.
    pub decimals: u8,
    /// The canonical bump of the lease's address.
    pub bump: u8,
    /// The canonical bump of the vault's address.
    pub vault_bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// The most that an award can cost, in basis points of the deposit; zero without arbitration.
    pub arbiter_cap: u16,
    /// Seconds from a dispute to the time of its award, and again to its end.
    pub dispute_delay: u32,
    /// When the supplier disputed, in Unix seconds; zero before. There is one dispute at most.
    pub disputed_at: i64,
    /// The cumulative gross amount that the open dispute is about; zero if none is open.
    pub disputed: u64,
}

const _: () = assert!(size_of::<Lease>() == 256 && align_of::<Lease>() == 8);

// Safety: repr(C); the assertion above and the sum of the field sizes leave no
// room for padding; all fields are integers or arrays of them.
unsafe impl Plain for Lease {}

impl Lease {
    /// Reads an open lease of this program.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == OPEN && self.version == VERSION, Error::STATE)
    }

    /// When an award of the dispute becomes possible, and when the dispute is over.
    #[inline(always)]
    pub fn award_times(&self) -> (i64, i64) {
        let delay = self.dispute_delay as i64;
        let from = self.disputed_at.saturating_add(delay);
        (from, from.saturating_add(delay))
    }

    /// The lease's fee terms.
    #[inline(always)]
    pub fn fees(&self) -> Fees {
        Fees { buyer: self.buyer_fee, supplier: self.supplier_fee, burn: self.burn }
    }

    /// The seeds with which the lease's address signs.
    #[inline(always)]
    pub fn seeds(&self) -> [Seed<'_>; 4] {
        let [lease, buyer, id] = address_seeds(&self.buyer, &self.id);
        [lease, buyer, id, Seed::new(slice::from_ref(&self.bump))]
    }

    /// Refuses a vault that is not this lease's.
    #[inline(always)]
    pub fn check_vault(&self, program: &Key, lease: &Key, vault: &Key) -> Result {
        let [tag, key] = vault_seeds(lease);
        let seeds = [tag, key, Seed::new(slice::from_ref(&self.vault_bump))];
        check(is_derived(&seeds, program, vault), Error::PDA)
    }
}

/// Refuses a deadline that is not ahead, or too far ahead.
#[inline(always)]
pub fn check_deadline(deadline: i64, now: i64) -> Result {
    check(deadline > now && deadline <= now.saturating_add(MAX_TERM), Error::TIME)
}

/// The seeds of a lease's address, without the bump.
#[inline(always)]
pub fn address_seeds<'a>(buyer: &'a Key, id: &'a Key) -> [Seed<'a>; 3] {
    [Seed::new(b"lease"), Seed::new(buyer), Seed::new(id)]
}

/// The seeds of the address of a lease's vault, without the bump.
#[inline(always)]
pub fn vault_seeds(lease: &Key) -> [Seed<'_>; 2] {
    [Seed::new(b"vault"), Seed::new(lease)]
}
