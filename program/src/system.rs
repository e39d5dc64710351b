// SPDX-License-Identifier: Apache-2.0
//! Calls of the System program.

use crate::abi::{invoke, Account, Key, Meta, Seed};
use crate::error::Result;

/// The System program.
pub const ID: Key = [0; 32];

const ASSIGN: u8 = 1;
const TRANSFER: u8 = 2;
const ALLOCATE: u8 = 8;

/// The lamports that keep an account of this size alive for good.
pub const fn rent(size: u64) -> u64 {
    (size + 128) * 6_960
}

/// The creation of an account at a program address.
///
/// `CreateAccount` refuses an address that holds lamports already, so anybody could
/// block a lease by sending one lamport to its address. This takes three steps instead.
pub struct Create<'a> {
    /// Who pays the rent.
    pub payer: &'a Account<'a>,
    /// The address.
    pub account: &'a Account<'a>,
    /// The size of the data.
    pub size: u64,
    /// The lamports that the account needs.
    pub rent: u64,
    /// The program that the account will belong to.
    pub owner: &'a Key,
}

impl Create<'_> {
    /// Creates the account; the address of `seeds` signs.
    #[inline(never)]
    pub fn invoke(&self, accounts: &[Account], seeds: &[Seed]) -> Result {
        let have = self.account.lamports();
        if have < self.rent {
            let mut data = [0u8; 12];
            data[0] = TRANSFER;
            data[4..12].copy_from_slice(&(self.rent - have).to_le_bytes());
            let metas = [Meta::write(self.payer).signed(), Meta::write(self.account)];
            invoke(&ID, &metas, &data, accounts, &[])?;
        }
        let metas = [Meta::write(self.account).signed()];
        let mut data = [0u8; 12];
        data[0] = ALLOCATE;
        data[4..12].copy_from_slice(&self.size.to_le_bytes());
        invoke(&ID, &metas, &data, accounts, seeds)?;
        let mut data = [0u8; 36];
        data[0] = ASSIGN;
        data[4..36].copy_from_slice(self.owner);
        invoke(&ID, &metas, &data, accounts, seeds)
    }
}
