// SPDX-License-Identifier: Apache-2.0
//! Slashes: who may do what and when, what they can take, and how they are refused.

mod market;

use bourse::error::Error;
use bourse::host::State;
use market::*;

/// A pool with 1000 of the owner's and 500 of Alice's.
fn staked() -> Market {
    let mut market = Market::opened();
    market.done(market.bond(OWNER, 1_000));
    market.done(market.bond(ALICE, 500));
    market
}

/// The same with a pending slash of 150, the most that there can be.
fn accused() -> Market {
    let mut market = staked();
    market.done(market.propose(150));
    market
}

#[test]
fn nobody_leaves_while_a_slash_is_pending() {
    let mut market = staked();
    market.done(market.unbond(ALICE, 500));
    market.wait(14 * DAY);
    market.done(market.propose(150));
    market.refused(&market.withdraw(ALICE), Error::HELD);
    market.done(market.appeal(1));
    market.refused(&market.withdraw(ALICE), Error::HELD);
    // Nor does anybody come and share the loss, but the owner may add stake, and all may unbond.
    market.refused(&market.bond(BOB, 1), Error::HELD);
    market.done(market.bond(OWNER, 10));
    market.done(market.unbond(OWNER, 10));
    market.done(market.execute(ARBITER, 1));
    market.done(market.withdraw(ALICE));
    // 500 of 1510 shares in 1360 tokens.
    assert_eq!(market.amount(tokens(ALICE)), WEALTH - 500 + 450);
}

#[test]
fn propose_refuses() {
    let mut market = staked();
    let good = market.propose(150);
    market.refused(&good.with(0, read(AUTHORITY)), Error::SIGNER);
    market.refused(&good.with(0, sign(STRANGER)), Error::SIGNER);
    market.refused(&good.with(0, sign(ARBITER)), Error::SIGNER);
    market.refused(&good.with(1, read(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, read(market.pool(OWNER))), Error::STATE);
    market.refused(&good.bytes(10, &[0; 32]), Error::ARGUMENT);
    market.refused(&market.propose(0), Error::AMOUNT);
    market.refused(&market.propose(151), Error::CAP);
    market.refused(&market.propose(1_499), Error::CAP);
    market.refused(&market.propose(1_500), Error::AMOUNT);
    market.refused(&market.propose(u64::MAX), Error::AMOUNT);
    let mut short = good.clone();
    short.data.pop();
    market.refused(&short, Error::ARGUMENT);
    market.done(good.clone());
    market.refused(&good, Error::HELD);
    market.refused(&market.propose(1), Error::HELD);
    Market::opened().refused(&Market::opened().propose(1), Error::AMOUNT);
}

#[test]
fn one_unit_stays_even_without_a_cap() {
    let mut market = Market::with(Terms { max_slash: 10_000, ..TERMS });
    market.done(market.create(OWNER));
    market.done(market.bond(OWNER, 1_000));
    market.refused(&market.propose(1_000), Error::AMOUNT);
    market.done(market.propose(999));
    market.wait(7 * DAY);
    market.done(market.execute(STRANGER, 1));
    assert_eq!((market.total(), market.shares()), (1, 1_000));
    // What comes now gets what it brings, and the first gain nothing by it.
    market.done(market.bond(ALICE, 1));
    market.done(market.unbond(ALICE, 1_000));
    market.done(market.unbond(OWNER, 1_000));
    market.wait(14 * DAY);
    market.done(market.withdraw(ALICE));
    assert_eq!(market.amount(tokens(ALICE)), WEALTH);
    market.done(market.withdraw(OWNER));
    assert_eq!((market.total(), market.shares()), (0, 0));
    assert_eq!(market.amount(tokens(OWNER)), WEALTH - 999);
    market.done(market.bond(OWNER, 7));
    assert_eq!((market.total(), market.shares()), (7, 7));
}

#[test]
fn shares_beyond_64_bits_are_refused() {
    let mut market = Market::with(Terms { max_slash: 10_000, ..TERMS });
    market.put(State::tokens(tokens(OWNER), &MINT, &OWNER, u64::MAX / 2));
    market.done(market.create(OWNER));
    market.done(market.bond(OWNER, 1 << 60));
    market.done(market.propose((1 << 60) - 1));
    market.wait(7 * DAY);
    market.put(State::mint(MINT, u64::MAX, DECIMALS));
    market.done(market.execute(STRANGER, 1));
    market.refused(&market.bond(OWNER, 16), Error::AMOUNT);
    // 15 * 2^60 would fit, but not together with the shares that are there.
    market.refused(&market.bond(OWNER, 15), Error::AMOUNT);
    market.refused(&market.bond(ALICE, 15), Error::AMOUNT);
    market.done(market.bond(OWNER, 14));
}

#[test]
fn an_appeal_is_the_owners_and_in_time() {
    let mut market = accused();
    let good = market.appeal(1);
    market.refused(&good.with(0, read(OWNER)), Error::SIGNER);
    market.refused(&good.with(0, sign(ALICE)), Error::SIGNER);
    market.refused(&good.with(1, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(1, read(market.pool(OWNER))), Error::STATE);
    market.refused(&market.appeal(0), Error::STATE);
    market.refused(&market.appeal(2), Error::STATE);
    market.wait(7 * DAY);
    market.refused(&good, Error::TIME);
    market.wait(-1);
    market.done(good.clone());
    market.refused(&good, Error::STATE);
    staked().refused(&staked().appeal(0), Error::STATE);
}

#[test]
fn execute_refuses() {
    let mut market = accused();
    let good = market.execute(STRANGER, 1);
    for submitter in EVERYBODY {
        market.refused(&market.execute(submitter, 1), Error::TIME);
    }
    market.wait(7 * DAY - 1);
    market.refused(&good, Error::TIME);
    market.wait(1);
    market.refused(&good.with(0, read(STRANGER)), Error::SIGNER);
    market.refused(&good.with(1, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(1, read(market.pool(OWNER))), Error::STATE);
    market.refused(&good.with(2, write(tokens(OWNER))), Error::PDA);
    market.refused(&good.with(3, write(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(4, read([99; 32])), Error::ARGUMENT);
    market.refused(&market.execute(STRANGER, 0), Error::STATE);
    market.refused(&market.execute(STRANGER, 2), Error::STATE);
    market.wait(30 * DAY);
    market.refused(&good, Error::TIME);
    market.wait(-1);
    market.done(good.clone());
    market.refused(&good, Error::STATE);
    staked().refused(&staked().execute(STRANGER, 0), Error::STATE);
}

#[test]
fn after_an_appeal_only_the_arbiter_decides() {
    let mut market = accused();
    market.done(market.appeal(1));
    for wait in [0, 7 * DAY, 36 * DAY] {
        let mut market = market.clone();
        market.wait(wait);
        for submitter in [AUTHORITY, OWNER, ALICE, BOB, STRANGER] {
            market.refused(&market.execute(submitter, 1), Error::SIGNER);
        }
        market.refused(&market.execute(ARBITER, 1).with(0, read(ARBITER)), Error::SIGNER);
        market.done(market.execute(ARBITER, 1));
        assert_eq!(market.total(), 1_350);
    }
    market.wait(37 * DAY);
    market.refused(&market.execute(ARBITER, 1), Error::TIME);
    market.done(market.drop_slash(STRANGER, 1));
    assert_eq!((market.total(), market.amount(market.vault(OWNER))), (1_500, 1_500));
}

#[test]
fn who_may_drop_a_slash_and_when() {
    let mut market = accused();
    market.clone().done(market.drop_slash(AUTHORITY, 1));
    market.refused(&market.drop_slash(AUTHORITY, 1).with(0, read(AUTHORITY)), Error::SIGNER);
    market.refused(&market.drop_slash(AUTHORITY, 0), Error::STATE);
    market.refused(&market.drop_slash(AUTHORITY, 2), Error::STATE);
    market.refused(&market.drop_slash(AUTHORITY, 1).with(2, write(STRANGER)), Error::OWNER);
    market.refused(&market.drop_slash(AUTHORITY, 1).with(2, read(market.pool(OWNER))), Error::STATE);
    market.refused(&market.drop_slash(ARBITER, 1), Error::TIME);
    market.done(market.appeal(1));
    market.clone().done(market.drop_slash(AUTHORITY, 1));
    market.clone().done(market.drop_slash(ARBITER, 1));
    market.wait(37 * DAY - 1);
    for submitter in [OWNER, ALICE, BOB, STRANGER] {
        market.refused(&market.drop_slash(submitter, 1), Error::TIME);
    }
    market.wait(1);
    market.done(market.drop_slash(OWNER, 1));
    market.refused(&market.drop_slash(AUTHORITY, 1), Error::STATE);
    // A slash that nobody executes ends in the same way without an appeal.
    let mut market = accused();
    market.wait(37 * DAY);
    market.done(market.drop_slash(STRANGER, 1));
    assert_eq!(market.total(), 1_500);
}

/// A signature for one slash does not decide about the next, and the next one has to wait for a day: slashes in a
/// row cannot hold stake that is unlocked for ever.
#[test]
fn there_is_a_calm_day_after_a_slash() {
    let mut market = accused();
    market.done(market.drop_slash(AUTHORITY, 1));
    market.refused(&market.propose(150), Error::TIME);
    market.wait(DAY - 1);
    market.refused(&market.propose(150), Error::TIME);
    market.wait(1);
    market.done(market.propose(150));
    market.refused(&market.appeal(1), Error::STATE);
    market.refused(&market.execute(ARBITER, 1), Error::STATE);
    market.done(market.appeal(2));
    market.done(market.execute(ARBITER, 2));
    market.refused(&market.propose(1), Error::TIME);
}

#[test]
fn a_config_without_an_arbiter_gives_way_to_appeals() {
    let mut market = Market::with(Terms { arbiter: [0; 32], ..TERMS });
    market.done(market.create(OWNER));
    market.done(market.bond(OWNER, 1_000));
    market.done(market.propose(100));
    market.done(market.appeal(1));
    market.wait(7 * DAY);
    market.refused(&market.execute([0; 32], 1).with(0, read([0; 32])), Error::SIGNER);
    market.wait(30 * DAY);
    market.done(market.drop_slash(STRANGER, 1));
}

/// The cap is of what a share was worth when the first slash was proposed. It comes back only after 30 days without
/// a slash, so there are no 30 days in which a share loses more.
#[test]
fn the_cap_counts_until_there_was_no_slash_for_30_days() {
    let mut market = staked();
    market.done(market.propose(150));
    market.wait(7 * DAY);
    market.done(market.execute(STRANGER, 1));
    market.wait(30 * DAY - 1);
    market.refused(&market.propose(1), Error::CAP);
    market.wait(1);
    market.refused(&market.propose(136), Error::CAP);
    // Now of 1350; in two parts, of which the second keeps the period alive.
    market.done(market.propose(1));
    market.wait(7 * DAY);
    market.done(market.execute(STRANGER, 2));
    market.wait(29 * DAY);
    market.refused(&market.propose(135), Error::CAP);
    market.done(market.propose(134));
    market.wait(7 * DAY);
    market.done(market.execute(STRANGER, 3));
    market.wait(29 * DAY);
    market.refused(&market.propose(1), Error::CAP);
}

/// What others bond or withdraw between two slashes does not raise what a share can lose.
#[test]
fn the_cap_is_of_a_share_and_not_of_the_pool() {
    let slashed = || {
        let mut market = staked();
        market.done(market.unbond(ALICE, 500));
        market.done(market.propose(75));
        market.wait(14 * DAY);
        market.done(market.execute(STRANGER, 1));
        market.wait(DAY);
        market
    };
    // 1500 shares of 1425. The owner adds ten times as much: the old shares have 5 % left to lose, the new as well.
    let mut market = slashed();
    market.done(market.bond(OWNER, 14_250));
    market.refused(&market.propose(826), Error::CAP);
    market.done(market.propose(825));
    // A third leaves: the others lose no more than before.
    let mut market = slashed();
    market.done(market.withdraw(ALICE));
    market.refused(&market.propose(51), Error::CAP);
    market.done(market.propose(50));
}

/// When all have left, the next shares start at one unit each: the old mark would let them lose too much.
#[test]
fn an_empty_pool_forgets_its_mark() {
    let mut market = Market::with(Terms { max_slash: 5_000, ..TERMS });
    market.done(market.create(OWNER));
    market.done(market.bond(OWNER, 1_000));
    for number in [1, 2] {
        market.done(market.propose(market.total() / 2));
        market.wait(7 * DAY);
        market.done(market.execute(STRANGER, number));
        market.wait(31 * DAY);
    }
    // Worth a quarter now; the next slash sets a mark there.
    market.done(market.unbond(OWNER, 1_000));
    market.done(market.propose(1));
    market.wait(14 * DAY);
    market.done(market.execute(STRANGER, 3));
    market.done(market.withdraw(OWNER));
    assert_eq!((market.pool_word(152), market.pool_word(160)), (0, 0));
    market.done(market.bond(OWNER, 1_000));
    market.wait(DAY);
    market.refused(&market.propose(501), Error::CAP);
    market.done(market.propose(500));
}

#[test]
fn a_frozen_vault_stops_but_loses_nothing() {
    let mut market = accused();
    let mut vault = market.state(market.vault(OWNER));
    vault.data[108] = 2;
    market.put(vault.clone());
    market.wait(7 * DAY);
    assert_eq!(market.send(&market.execute(STRANGER, 1)), 17);
    vault.data[108] = 1;
    market.put(vault);
    market.done(market.execute(STRANGER, 1));
    assert_eq!(market.total(), 1_350);
}

/// New terms hold from when they are applied, and for nothing that runs already.
#[test]
fn terms_count_when_they_are_applied() {
    let mut market = staked();
    market.done(market.change_config(Terms {
        arbiter: BOB,
        max_slash: 500,
        max_delegation: 1,
        slash_window: 3_600,
        slash_hold: 7_200,
        cooldown: 60,
    }));
    market.wait(3_600);
    market.done(market.bond(BOB, 500));
    market.done(market.unbond(BOB, 1));
    assert_eq!(market.position_word(BOB, 88), (NOW + 3_600 + 14 * DAY) as u64);
    market.done(market.propose(200));
    let times = [market.pool_word(192), market.pool_word(200)];
    market.done(market.apply_config());
    assert_eq!([market.pool_word(192), market.pool_word(200)], times);
    market.done(market.appeal(1));
    market.refused(&market.execute(BOB, 1), Error::SIGNER);
    market.done(market.drop_slash(ARBITER, 1));

    market.wait(DAY);
    market.refused(&market.bond(BOB, 1), Error::CAP);
    market.done(market.unbond(ALICE, 1));
    assert_eq!(market.position_word(ALICE, 88), (market.runtime.now + 60) as u64);
    market.refused(&market.propose(101), Error::CAP);
    market.done(market.propose(100));
    let times = [NOW + 3_600 + DAY + 3_600, NOW + 3_600 + DAY + 10_800].map(|time| time as u64);
    assert_eq!([market.pool_word(192), market.pool_word(200)], times);
    market.done(market.appeal(2));
    market.refused(&market.execute(ARBITER, 2), Error::SIGNER);
    market.done(market.execute(BOB, 2));
}
