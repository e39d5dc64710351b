// SPDX-License-Identifier: Apache-2.0
//! SHA-256 for the model of the runtime, by the letter of FIPS 180-4.

use std::sync::LazyLock;
use std::vec::Vec;

/// The constants of the rounds, and what the hash begins with.
static ROUNDS: LazyLock<Vec<u32>> =
    LazyLock::new(|| primes(64).into_iter().map(|p| fraction(p, 3)).collect());
static BEGIN: LazyLock<Vec<u32>> = LazyLock::new(|| primes(8).into_iter().map(|p| fraction(p, 2)).collect());

/// The first 32 bits of the fractional part of a root of a prime, by integers alone: the
/// largest `r` with `r^degree <= prime * 2^(32 * degree)`, less its whole part.
fn fraction(prime: u128, degree: u32) -> u32 {
    let (mut low, mut high) = (0u128, 1 << 37);
    while high - low > 1 {
        let middle = (low + high) / 2;
        // Fits 128 bits: middle < 2^37, and prime * 2^96 < 2^105.
        if middle.pow(degree) <= prime << (32 * degree) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low as u32
}

fn primes(count: usize) -> Vec<u128> {
    (2u128..).filter(|n| (2..*n).all(|d| n % d != 0)).take(count).collect()
}

/// The digest of a message.
pub fn digest(message: &[u8]) -> [u8; 32] {
    let mut h = BEGIN.clone();
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        compress(&mut h, &ROUNDS, block);
    }
    let mut out = [0; 32];
    for (bytes, word) in out.chunks_exact_mut(4).zip(&h) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

fn compress(h: &mut [u32], k: &[u32], block: &[u8]) {
    let mut w: Vec<u32> = block.chunks_exact(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect();
    for t in 16..64 {
        let small0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ w[t - 15] >> 3;
        let small1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ w[t - 2] >> 10;
        w.push(small1.wrapping_add(w[t - 7]).wrapping_add(small0).wrapping_add(w[t - 16]));
    }
    let mut v: Vec<u32> = h.to_vec();
    for t in 0..64 {
        let big1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
        let choice = v[4] & v[5] ^ !v[4] & v[6];
        let first = v[7].wrapping_add(big1).wrapping_add(choice).wrapping_add(k[t]).wrapping_add(w[t]);
        let big0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
        let majority = v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2];
        v.rotate_right(1);
        v[0] = first.wrapping_add(big0).wrapping_add(majority);
        v[4] = v[4].wrapping_add(first);
    }
    for (word, value) in h.iter_mut().zip(v) {
        *word = word.wrapping_add(value);
    }
}
