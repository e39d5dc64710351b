// SPDX-License-Identifier: Apache-2.0
//! The shares of an amount, against 128-bit arithmetic.

mod world;

use bourse::error::Error;
use bourse::fees::{part, Fees, Split};
use world::Random;

/// Amounts of every magnitude, with the largest ones among them.
fn amount(random: &mut Random, i: u64) -> u64 {
    match i {
        0..=3 => u64::MAX - i,
        _ => random.word() >> (i % 64),
    }
}

fn fees(random: &mut Random) -> Fees {
    Fees {
        buyer: random.below(1_001) as u16,
        supplier: random.below(1_001) as u16,
        burn: random.below(10_001) as u16,
    }
}

/// The same in 128 bits, straight from the definition; `None` if it does not fit.
fn model(fees: Fees, gross: u64) -> Option<Split> {
    let floor = |amount: u128, bps: u16| amount * bps as u128 / 10_000;
    let gross = gross as u128;
    let fee = floor(gross, fees.buyer) + floor(gross, fees.supplier);
    let burn = floor(fee, fees.burn);
    Some(Split {
        debit: u64::try_from(gross + floor(gross, fees.buyer)).ok()?,
        supplier: u64::try_from(gross - floor(gross, fees.supplier)).ok()?,
        treasury: u64::try_from(fee - burn).ok()?,
        burn: u64::try_from(burn).ok()?,
    })
}

#[test]
fn part_is_the_floor_of_the_product() {
    let mut random = Random(1);
    for i in 0..4_000_000 {
        let amount = amount(&mut random, i);
        let bps = (random.word() % 10_001) as u16;
        assert_eq!(part(amount, bps) as u128, amount as u128 * bps as u128 / 10_000, "{amount} × {bps}");
    }
}

#[test]
fn split_agrees_with_the_model_and_sums_to_the_debit() {
    let mut random = Random(2);
    let mut refused = 0;
    for i in 0..2_000_000 {
        let (gross, fees) = (amount(&mut random, i), fees(&mut random));
        let mut split = Split::default();
        match (fees.split(gross, &mut split), model(fees, gross)) {
            (Ok(()), Some(want)) => {
                assert_eq!(split, want, "{gross} {fees:?}");
                assert_eq!(
                    split.debit as u128,
                    split.supplier as u128 + split.treasury as u128 + split.burn as u128
                );
            }
            (Err(error), None) => {
                assert_eq!(error, Error::AMOUNT);
                refused += 1;
            }
            (got, want) => panic!("{gross} {fees:?}: {got:?}, model {want:?}"),
        }
    }
    assert!(refused > 100, "the largest amounts were not tried: {refused}");
}

#[test]
fn split_of_hundred_usdc() {
    let mut split = Split::default();
    Fees { buyer: 225, supplier: 25, burn: 4_000 }.split(100_000_000, &mut split).unwrap();
    assert_eq!(
        split,
        Split { debit: 102_250_000, supplier: 99_750_000, treasury: 1_500_000, burn: 1_000_000 }
    );
}

#[test]
fn no_share_ever_shrinks() {
    let mut random = Random(3);
    for i in 8..1_000_000 {
        let fees = fees(&mut random);
        let later = amount(&mut random, i) / 2;
        let earlier = if later == 0 { 0 } else { later - random.below(later.min(20_000) + 1) };
        let (mut a, mut b, mut due) = (Split::default(), Split::default(), Split::default());
        fees.split(earlier, &mut a).unwrap();
        fees.split(later, &mut b).unwrap();
        b.since(&a, &mut due).unwrap();
        assert_eq!(due.debit, due.supplier + due.treasury + due.burn);
    }
}

#[test]
fn terms_have_limits() {
    for (fees, fair) in [
        (Fees { buyer: 1_000, supplier: 1_000, burn: 10_000 }, true),
        (Fees { buyer: 0, supplier: 0, burn: 0 }, true),
        (Fees { buyer: 1_001, supplier: 0, burn: 0 }, false),
        (Fees { buyer: 0, supplier: 1_001, burn: 0 }, false),
        (Fees { buyer: 0, supplier: 0, burn: 10_001 }, false),
    ] {
        assert_eq!(fees.check().is_ok(), fair, "{fees:?}");
    }
}
