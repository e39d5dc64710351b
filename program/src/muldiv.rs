// SPDX-License-Identifier: Apache-2.0
//! `a * b / d` of 64-bit numbers with the whole product, by which shares become amounts.
//!
//! The BPF target has no 128-bit arithmetic, so the product is put together from
//! 32-bit halves and divided bit by bit.

use crate::error::{check, Error, Result};

const LOW: u64 = 0xffff_ffff;

/// Writes `floor(a * b / d)` to `out`. Refuses a quotient that needs more than 64 bits; `d = 0` is one.
#[inline(never)]
pub fn floor(a: u64, b: u64, d: u64, out: &mut u64) -> Result {
    let mut rest = 0;
    divide(product(a, b), d, out, &mut rest)
}

/// Writes `ceil(a * b / d)` to `out`. Refuses what [`floor`] refuses, and a result beyond 64 bits.
#[inline(never)]
pub fn ceil(a: u64, b: u64, d: u64, out: &mut u64) -> Result {
    let mut rest = 0;
    divide(product(a, b), d, out, &mut rest)?;
    *out = out.checked_add((rest > 0) as u64).ok_or(Error::AMOUNT)?;
    Ok(())
}

/// The 128 bits of a product: the upper and the lower half.
///
/// No sum below can wrap: with `m = 2^32 - 1` a partial product is at most `m * m`, and
/// `m * m + m + m` is `2^64 - 1`.
#[inline(always)]
fn product(a: u64, b: u64) -> (u64, u64) {
    let (a_high, a_low) = (a >> 32, a & LOW);
    let (b_high, b_low) = (b >> 32, b & LOW);
    let low = a_low.wrapping_mul(b_low);
    let left = a_high.wrapping_mul(b_low).wrapping_add(low >> 32);
    let right = a_low.wrapping_mul(b_high).wrapping_add(left & LOW);
    let high = a_high.wrapping_mul(b_high).wrapping_add(left >> 32).wrapping_add(right >> 32);
    (high, right << 32 | low & LOW)
}

/// Long division, one binary digit at a time. With `high < d` the quotient has 64 of them.
#[inline(always)]
fn divide((high, low): (u64, u64), d: u64, out: &mut u64, rest: &mut u64) -> Result {
    check(high < d, Error::AMOUNT)?;
    let (mut left, mut digits, mut quotient) = (high, low, 0u64);
    for _ in 0..64 {
        // The bit that leaves to the left is worth 2^64, which is more than d.
        let beyond = left >> 63 != 0;
        left = left << 1 | digits >> 63;
        digits <<= 1;
        quotient <<= 1;
        if beyond || left >= d {
            left = left.wrapping_sub(d);
            quotient |= 1;
        }
    }
    (*out, *rest) = (quotient, left);
    Ok(())
}
