// SPDX-License-Identifier: Apache-2.0
//! Products and quotients against 128-bit arithmetic.

mod world;

use bourse::error::Error;
use bourse::muldiv::{ceil, floor};
use world::Random;

#[track_caller]
fn compare(a: u64, b: u64, d: u64) {
    let whole = a as u128 * b as u128;
    let want = |quotient: u128| u64::try_from(quotient).map_err(|_| Error::AMOUNT);
    let mut out = 0;
    let down = if d == 0 { Err(Error::AMOUNT) } else { want(whole / d as u128) };
    assert_eq!(floor(a, b, d, &mut out).map(|()| out), down, "floor {a} * {b} / {d}");
    let up = if d == 0 { Err(Error::AMOUNT) } else { want(whole.div_ceil(d as u128)) };
    assert_eq!(ceil(a, b, d, &mut out).map(|()| out), up, "ceil {a} * {b} / {d}");
}

#[test]
fn edges_agree_with_128_bits() {
    let mut edges = vec![0, 1, 2, 3, 10_000, u64::MAX, u64::MAX - 1, u64::MAX / 2, u64::MAX / 2 + 1];
    for shift in [8, 16, 31, 32, 33, 48, 62, 63] {
        edges.extend([(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1]);
    }
    for &a in &edges {
        for &b in &edges {
            for &d in &edges {
                compare(a, b, d);
            }
        }
    }
}

#[test]
fn random_numbers_agree_with_128_bits() {
    let mut random = Random::seeded(44);
    for _ in 0..1_000_000 {
        // Numbers of all sizes, for carries at all places.
        let mut number = || {
            let shift = random.below(64);
            random.word() >> shift
        };
        compare(number(), number(), number());
    }
}

/// A quotient of 64 ones, with a divisor just above the upper half of the product.
#[test]
fn the_largest_quotients_are_right() {
    for d in [1, 2, 3, 1 << 32, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        compare(u64::MAX, d, d);
        compare(u64::MAX, d, d - (d > 1) as u64);
        compare(d, u64::MAX, d);
    }
}
