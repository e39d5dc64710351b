// SPDX-License-Identifier: Apache-2.0
//! The buyer's voucher: "cumulatively `gross` base units for this lease".
//!
//! The program does not check signatures itself. The Ed25519 program does, in the
//! instruction before the claim; this module reads that instruction from the
//! instructions sysvar and makes sure that it checked exactly the right thing.

use crate::abi::{Account, Key};
use crate::error::{check, Error, Result};

/// The Ed25519 program, `Ed25519SigVerify111111111111111111111111111`.
pub const ED25519: Key = [
    0x03, 0x7d, 0x46, 0xd6, 0x7c, 0x93, 0xfb, 0xbe, 0x12, 0xf9, 0x42, 0x8f, 0x83, 0x8d, 0x40, 0xff, 0x05,
    0x70, 0x74, 0x49, 0x27, 0xf4, 0x8a, 0x64, 0xfc, 0xca, 0x70, 0x44, 0x80, 0x00, 0x00, 0x00,
];
/// The instructions sysvar, `Sysvar1nstructions1111111111111111111111111`.
pub const INSTRUCTIONS: Key = [
    0x06, 0xa7, 0xd5, 0x17, 0x18, 0x7b, 0xd1, 0x66, 0x35, 0xda, 0xd4, 0x04, 0x55, 0xfd, 0xc2, 0xc0, 0xc1,
    0x24, 0xc6, 0x8f, 0x21, 0x56, 0x75, 0xa5, 0xdb, 0xba, 0xcb, 0x5f, 0x08, 0x00, 0x00, 0x00,
];
/// The first bytes of every voucher: what it is and for which version.
pub const TAG: [u8; 7] = *b"bourse2";

/// One signature; signature at 48, key at 16 and message of 79 bytes at 112, each
/// in "this instruction" (0xffff). Any other head could point the Ed25519 program
/// at bytes that are not the ones read here.
const HEAD: [u8; 16] = [1, 0, 48, 0, 0xff, 0xff, 16, 0, 0xff, 0xff, 112, 0, 79, 0, 0xff, 0xff];
/// The length of the Ed25519 instruction: head, key, signature, message.
const LEN: u16 = 16 + 32 + 64 + 79;

/// What must have been signed, and by whom.
pub struct Voucher<'a> {
    /// This program: a voucher for another deployment is worth nothing here.
    pub program: &'a Key,
    /// The lease's address.
    pub lease: &'a Key,
    /// Who must have signed.
    pub buyer: &'a Key,
    /// The cumulative gross amount.
    pub gross: u64,
}

impl Voucher<'_> {
    /// Refuses unless the instruction before the current one proves the voucher.
    #[inline(never)]
    pub fn check(&self, sysvar: &Account) -> Result {
        check(*sysvar.key() == INSTRUCTIONS, Error::VOUCHER)?;
        check(self.proved_by(sysvar.data()) == Some(true), Error::VOUCHER)
    }

    /// Reads the sysvar: a count, as many offsets, the instructions, and in the last
    /// two bytes the index of the current one. `None` if it ends too early.
    #[inline(always)]
    fn proved_by(&self, sysvar: &[u8]) -> Option<bool> {
        let current = u16_at(sysvar, sysvar.len().checked_sub(2)?)?;
        if current == 0 {
            return None;
        }
        // The offset of instruction i is at 2 + 2i; this is i = current - 1.
        let instruction = sysvar.get(u16_at(sysvar, current * 2)?..)?;
        let metas = u16_at(instruction, 0)?;
        let rest = instruction.get(2 + metas * 33..)?;
        let (program, rest) = rest.split_first_chunk::<32>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (head, rest) = rest.split_first_chunk::<16>()?;
        let (signer, rest) = rest.split_first_chunk::<32>()?;
        let (_signature, rest) = rest.split_first_chunk::<64>()?;
        let (tag, rest) = rest.split_first_chunk::<7>()?;
        let (of_program, rest) = rest.split_first_chunk::<32>()?;
        let (of_lease, rest) = rest.split_first_chunk::<32>()?;
        let (gross, _) = rest.split_first_chunk::<8>()?;
        Some(
            *program == ED25519
                && u16::from_le_bytes(*len) == LEN
                && *head == HEAD
                && signer == self.buyer
                && *tag == TAG
                && of_program == self.program
                && of_lease == self.lease
                && u64::from_le_bytes(*gross) == self.gross,
        )
    }
}

#[inline(always)]
fn u16_at(bytes: &[u8], offset: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?) as usize)
}
