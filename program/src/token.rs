// SPDX-License-Identifier: Apache-2.0
//! Calls of the SPL Token program, and what its accounts say.

use crate::abi::{invoke, Account, Key, Meta, Seed};
use crate::error::Result;

/// The SPL Token program, `TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA`.
pub const ID: Key = [
    0x06, 0xdd, 0xf6, 0xe1, 0xd7, 0x65, 0xa1, 0x93, 0xd9, 0xcb, 0xe1, 0x46, 0xce, 0xeb, 0x79, 0xac, 0x1c,
    0xb4, 0x85, 0xed, 0x5f, 0x5b, 0x37, 0x91, 0x3a, 0x8c, 0xf5, 0x85, 0x7e, 0xff, 0x00, 0xa9,
];

/// The mint of wrapped SOL, `So11111111111111111111111111111111111111112`.
pub const NATIVE: Key = [
    0x06, 0x9b, 0x88, 0x57, 0xfe, 0xab, 0x81, 0x84, 0xfb, 0x68, 0x7f, 0x63, 0x46, 0x18, 0xc0, 0x35, 0xda,
    0xc4, 0x39, 0xdc, 0x1a, 0xeb, 0x3b, 0x55, 0x98, 0xa0, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x01,
];

/// The size of a token account.
pub const ACCOUNT_SIZE: u64 = 165;
/// The size of a mint.
pub const MINT_SIZE: u64 = 82;

const CLOSE_ACCOUNT: u8 = 9;
const TRANSFER_CHECKED: u8 = 12;
const BURN_CHECKED: u8 = 15;
const INITIALIZE_ACCOUNT_3: u8 = 18;

/// Whether the account is an initialized mint with these decimals.
#[inline(always)]
pub fn is_mint(account: &Account, decimals: u8) -> bool {
    account.owned_by(&ID)
        && account.data_len() == MINT_SIZE as usize
        && account.get(44) == Some([decimals, 1])
}

/// The decimals of an initialized mint; `None` if it is not one.
#[inline(always)]
pub fn decimals(account: &Account) -> Option<u8> {
    let [decimals] = account.get(44)?;
    if is_mint(account, decimals) {
        Some(decimals)
    } else {
        None
    }
}

/// Whether the account is a token account of this mint that belongs to `owner`.
#[inline(always)]
pub fn is_account_of(account: &Account, mint: &Key, owner: &Key) -> bool {
    account.owned_by(&ID)
        && account.data_len() == ACCOUNT_SIZE as usize
        && account.get(0) == Some(*mint)
        && account.get(32) == Some(*owner)
}

/// The balance of a token account.
#[inline(always)]
pub fn balance(account: &Account) -> Option<u64> {
    Some(u64::from_le_bytes(account.get(64)?))
}

/// Makes an allocated account a token account of `mint` that belongs to `owner`.
#[inline(always)]
pub fn initialize(account: &Account, mint: &Account, owner: &Key, accounts: &[Account]) -> Result {
    let mut data = [0u8; 33];
    data[0] = INITIALIZE_ACCOUNT_3;
    data[1..].copy_from_slice(owner);
    invoke(&ID, &[Meta::write(account), Meta::read(mint)], &data, accounts, &[])
}

/// A token account whose owner signs for what leaves it: the buyer by the
/// transaction's signature, a lease by its seeds.
pub struct Purse<'a> {
    /// The token account.
    pub account: &'a Account<'a>,
    /// Its mint.
    pub mint: &'a Account<'a>,
    /// The mint's decimals.
    pub decimals: u8,
    /// The account's owner.
    pub owner: &'a Account<'a>,
    /// The owner's seeds; empty if it signed the transaction.
    pub seeds: &'a [Seed<'a>],
    /// All accounts of the instruction.
    pub accounts: &'a [Account<'a>],
}

impl Purse<'_> {
    /// Pays `amount` to another token account. Nothing to pay is no call.
    #[inline(never)]
    pub fn transfer(&self, to: &Account, amount: u64) -> Result {
        if amount == 0 {
            return Ok(());
        }
        let metas = [
            Meta::write(self.account),
            Meta::read(self.mint),
            Meta::write(to),
            Meta::read(self.owner).signed(),
        ];
        let data = checked(TRANSFER_CHECKED, amount, self.decimals);
        invoke(&ID, &metas, &data, self.accounts, self.seeds)
    }

    /// Burns `amount`: the mint's supply shrinks. Nothing to burn is no call.
    #[inline(never)]
    pub fn burn(&self, amount: u64) -> Result {
        if amount == 0 {
            return Ok(());
        }
        let metas = [Meta::write(self.account), Meta::write(self.mint), Meta::read(self.owner).signed()];
        let data = checked(BURN_CHECKED, amount, self.decimals);
        invoke(&ID, &metas, &data, self.accounts, self.seeds)
    }

    /// Closes the empty account; its lamports go to `to`.
    #[inline(never)]
    pub fn close(&self, to: &Account) -> Result {
        let metas = [Meta::write(self.account), Meta::write(to), Meta::read(self.owner).signed()];
        invoke(&ID, &metas, &[CLOSE_ACCOUNT], self.accounts, self.seeds)
    }
}

/// The data of the instructions that name amount and decimals.
#[inline(always)]
fn checked(instruction: u8, amount: u64, decimals: u8) -> [u8; 10] {
    let mut data = [0u8; 10];
    data[0] = instruction;
    data[1..9].copy_from_slice(&amount.to_le_bytes());
    data[9] = decimals;
    data
}
