// SPDX-License-Identifier: Apache-2.0
//! The account of one staker's part of a pool.

use crate::abi::{check_address, Account, Key, Plain, Seed};
use crate::error::{check, check_signed, Error, Result};
use crate::system::{self, Create};
use core::slice;

/// The first eight bytes of a position.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bourse2\x21");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The size of a position's account.
pub const SIZE: u64 = size_of::<Position>() as u64;

/// A position, exactly as its account holds it: little endian, no padding, 104 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Position {
    /// [`MAGIC`].
    pub magic: u64,
    /// The pool.
    pub pool: Key,
    /// Whose stake it is: the pool's owner or a delegator.
    pub staker: Key,
    /// The shares that are bonded.
    pub shares: u64,
    /// The shares that are being unbonded.
    pub unbonding_shares: u64,
    /// Unix seconds from which they can be withdrawn; zero if there are none.
    pub unlock_at: i64,
    /// The canonical bump of the account's address.
    pub bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Position>() == 104 && align_of::<Position>() == 8);

// Safety: repr(C); the assertion above and the sum of the field sizes leave no room for
// padding; all fields are integers or arrays of them.
unsafe impl Plain for Position {}

impl Position {
    /// Reads the position in `pool` of a staker, who signs.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account, pool: &Key, staker: &Account) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == MAGIC && self.version == VERSION, Error::STATE)?;
        check(self.pool == *pool, Error::PARTY)?;
        check_signed(staker, &self.staker)
    }
}

/// The first bond of a staker: it makes the position.
pub struct First<'a> {
    /// The staker, who pays the rent.
    pub staker: &'a Account<'a>,
    /// The pool.
    pub pool: &'a Key,
    /// Where the position will be.
    pub position: &'a Account<'a>,
    /// The canonical bump of that address.
    pub bump: u8,
    /// All accounts of the instruction.
    pub accounts: &'a [Account<'a>],
}

impl First<'_> {
    /// Creates an empty position.
    #[inline(never)]
    pub fn create(&self, program: &Key) -> Result {
        let [tag, pool, staker] = address_seeds(self.pool, self.staker.key());
        check_address(&[tag, pool, staker], program, self.position.key(), self.bump)?;
        let [tag, pool, staker] = address_seeds(self.pool, self.staker.key());
        let seeds = [tag, pool, staker, Seed::new(slice::from_ref(&self.bump))];
        let rent = const { system::rent(SIZE) };
        Create { payer: self.staker, account: self.position, size: SIZE, rent, owner: program }
            .invoke(self.accounts, &seeds)?;
        let record = Position {
            magic: MAGIC,
            pool: *self.pool,
            staker: *self.staker.key(),
            bump: self.bump,
            version: VERSION,
            ..Position::empty()
        };
        check(self.position.store(&record), Error::STATE)
    }
}

/// The seeds of a position's address, without the bump.
#[inline(always)]
pub fn address_seeds<'a>(pool: &'a Key, staker: &'a Key) -> [Seed<'a>; 3] {
    [Seed::new(b"position"), Seed::new(pool), Seed::new(staker)]
}
