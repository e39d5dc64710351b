// SPDX-License-Identifier: Apache-2.0
//! The account that says how much of its rewards a wallet has had.

use crate::abi::{check_address, Account, Key, Plain, Seed};
use crate::error::{check, Error, Result};
use crate::system::{self, Create};
use core::slice;

/// The first eight bytes of a receipt.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bourse2\x31");
/// The layout version that this program writes and reads.
pub const VERSION: u8 = 2;
/// The size of a receipt.
pub const SIZE: u64 = size_of::<Receipt>() as u64;

/// A receipt, exactly as its account holds it: little endian, no padding, 88 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Receipt {
    /// [`MAGIC`].
    pub magic: u64,
    /// The rewards account.
    pub rewards: Key,
    /// Who was paid.
    pub wallet: Key,
    /// How much in all.
    pub claimed: u64,
    /// The canonical bump of the account's address.
    pub bump: u8,
    /// [`VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Receipt>() == 88 && align_of::<Receipt>() == 8);

// Safety: repr(C); the assertion above and the sum of the field sizes leave no room for
// padding; all fields are integers or arrays of them.
unsafe impl Plain for Receipt {}

impl Receipt {
    /// Reads the receipt of a wallet for these rewards.
    #[inline(never)]
    pub fn load(&mut self, program: &Key, account: &Account, rewards: &Key, wallet: &Key) -> Result {
        check(account.owned_by(program), Error::OWNER)?;
        check(account.load(self), Error::STATE)?;
        check(self.magic == MAGIC && self.version == VERSION, Error::STATE)?;
        check(self.rewards == *rewards && self.wallet == *wallet, Error::PARTY)
    }
}

/// The first claim for a wallet: it makes the receipt.
pub struct First<'a> {
    /// Who pays the rent.
    pub submitter: &'a Account<'a>,
    /// The rewards account.
    pub rewards: &'a Key,
    /// The wallet.
    pub wallet: &'a Key,
    /// Where the receipt will be.
    pub receipt: &'a Account<'a>,
    /// The canonical bump of that address.
    pub bump: u8,
    /// All accounts of the instruction.
    pub accounts: &'a [Account<'a>],
}

impl First<'_> {
    /// Creates a receipt for nothing yet.
    #[inline(never)]
    pub fn create(&self, program: &Key) -> Result {
        let [tag, rewards, wallet] = address_seeds(self.rewards, self.wallet);
        check_address(&[tag, rewards, wallet], program, self.receipt.key(), self.bump)?;
        let [tag, rewards, wallet] = address_seeds(self.rewards, self.wallet);
        let seeds = [tag, rewards, wallet, Seed::new(slice::from_ref(&self.bump))];
        let rent = const { system::rent(SIZE) };
        Create { payer: self.submitter, account: self.receipt, size: SIZE, rent, owner: program }
            .invoke(self.accounts, &seeds)?;
        let record = Receipt {
            magic: MAGIC,
            rewards: *self.rewards,
            wallet: *self.wallet,
            bump: self.bump,
            version: VERSION,
            ..Receipt::empty()
        };
        check(self.receipt.store(&record), Error::STATE)
    }
}

/// The seeds of a receipt's address, without the bump.
#[inline(always)]
pub fn address_seeds<'a>(rewards: &'a Key, wallet: &'a Key) -> [Seed<'a>; 3] {
    [Seed::new(b"reward"), Seed::new(rewards), Seed::new(wallet)]
}
