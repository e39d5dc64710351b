// SPDX-License-Identifier: Apache-2.0
//! The lease account and the addresses that belong to it.

use crate::abi::{is_canonical, is_derived, Account, Key, Plain, Seed};
use crate::error::{check, Error, Result};
use crate::fees::Fees;
use core::slice;

/// The first eight bytes of a lease that is open.
pub const OPEN: u64 = u64::from_le_bytes(*b"bourse1\x01");
/// The first eight bytes of a lease that was closed. The account stays as a
/// tombstone, so that its id can never be used again and no old voucher revives.
pub const CLOSED: u64 = u64::from_le_bytes(*b"bourse1\x02");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 1;
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
    /// Reserved for arbitration; zero.
    pub arbiter: Key,
    /// Who gets the market's part of the fees.
    pub treasury: Key,
    /// The token that the lease is paid in.
    pub mint: Key,
    /// The buyer's name for the lease.
    pub id: Key,
    /// What the buyer deposited. No claim can cost more.
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
    /// Zero.
    pub reserved: [u8; 22],
}

const _: () = assert!(size_of::<Lease>() == 256 && align_of::<Lease>() == 8);

// Safety: repr(C); the assertion above and the sum of the field sizes leave no
// room for padding; all fields are integers or arrays of them.
unsafe impl Plain for Lease {}

impl Lease {
    /// Reads an open lease of this program.
    #[inline(always)]
    pub fn load(program: &Key, account: &Account) -> Result<Lease> {
        check(account.owned_by(program), Error::OWNER)?;
        let lease = account.load::<Lease>().ok_or(Error::STATE)?;
        check(lease.magic == OPEN && lease.version == VERSION, Error::STATE)?;
        Ok(lease)
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

/// Refuses an address that is not the canonical one of these seeds.
#[inline(always)]
pub fn check_address(seeds: &[Seed], program: &Key, address: &Key, bump: u8) -> Result {
    check(is_canonical(seeds, program, address, bump), Error::PDA)
}
