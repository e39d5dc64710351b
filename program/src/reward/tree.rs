// SPDX-License-Identifier: Apache-2.0
//! The tree of hashes whose leaves say what each wallet has earned.
//!
//! `leaf = sha256(0x00 | rewards | wallet | amount)`, `node = sha256(0x01 | smaller | larger)`.
//! The first byte keeps a node from passing for a leaf. A leaf names the rewards account
//! and by it the market and the program: it is worth nothing elsewhere.

use crate::abi::{sha256, Key, Seed};
use crate::error::{check, Error, Result};

/// The most steps that a proof can have.
pub const MAX_DEPTH: usize = 20;

/// What a wallet claims to have earned in all.
pub struct Leaf<'a> {
    /// The rewards account.
    pub rewards: &'a Key,
    /// The wallet.
    pub wallet: &'a Key,
    /// What it has earned in all.
    pub amount: u64,
}

impl Leaf<'_> {
    /// Refuses unless the proof leads from this leaf to `root`. A proof is the list of the
    /// siblings on the way up.
    #[inline(never)]
    pub fn check(&self, root: &Key, proof: &[u8]) -> Result {
        check(proof.len() % 32 == 0 && proof.len() <= 32 * MAX_DEPTH, Error::ARGUMENT)?;
        let amount = self.amount.to_le_bytes();
        let parts = [Seed::new(&[0]), Seed::new(self.rewards), Seed::new(self.wallet), Seed::new(&amount)];
        let mut hash = sha256(&parts)?;
        let mut rest = proof;
        while let Some((sibling, above)) = rest.split_first_chunk::<32>() {
            let (smaller, larger) = if less(sibling, &hash) { (sibling, &hash) } else { (&hash, sibling) };
            hash = sha256(&[Seed::new(&[1]), Seed::new(smaller), Seed::new(larger)])?;
            rest = above;
        }
        check(hash == *root, Error::PROOF)
    }
}

/// Whether `a` comes before `b`, byte by byte.
#[inline(always)]
fn less(a: &Key, b: &Key) -> bool {
    let (mut a, mut b) = (&a[..], &b[..]);
    while let (Some((left, a_rest)), Some((right, b_rest))) =
        (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
    {
        let (left, right) = (u64::from_be_bytes(*left), u64::from_be_bytes(*right));
        if left != right {
            return left < right;
        }
        (a, b) = (a_rest, b_rest);
    }
    false
}
