// SPDX-License-Identifier: Apache-2.0
//! Disputes and awards: who may take how much, when, and how often.

mod world;

use bourse::error::Error;
use bourse::host::State;
use bourse::{lease, system};
use world::*;

/// A world in which 1000 were claimed and 3000 are disputed at time 1500.
fn disputed() -> World {
    let mut world = World::opened();
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    world.runtime.now = 1_500;
    assert_eq!(world.dispute(SUPPLIER, 3_000), 0);
    world
}

#[test]
fn an_award_pays_like_a_claim() {
    let mut awarded = disputed();
    awarded.runtime.now = 1_600;
    // A fifth of 10000 is 2000; from 1000 to 2900 it costs 1943.
    assert_eq!(awarded.award(ARBITER, 2_900), 0);
    let mut claimed = disputed();
    assert_eq!(claimed.claim(SUPPLIER, 2_900), 0);
    let balances = |world: &World| {
        let accounts = [&world.vault, &world.buyer_tokens, &world.supplier_tokens, &world.treasury_tokens];
        (accounts.map(State::amount), world.mint.supply())
    };
    assert_eq!(balances(&awarded), balances(&claimed));
    assert_eq!(awarded.tokens(), awarded.mint.supply());
    // Vouchers up to the award are worth nothing any more, later ones what they add.
    assert_eq!(awarded.claim(SUPPLIER, 2_900), Error::AMOUNT.code());
    assert_eq!(awarded.claim(SUPPLIER, 2_901), 0);
    assert_eq!(awarded.supplier_tokens.amount(), 2_901 - 7);
}

#[test]
fn an_award_waits_and_lapses() {
    for (now, want) in [
        (1_500, Error::TIME.code()),
        (1_599, Error::TIME.code()),
        (1_600, 0),
        (1_699, 0),
        (1_700, Error::TIME.code()),
        (i64::MAX, Error::TIME.code()),
        (0, Error::TIME.code()),
    ] {
        let mut world = disputed();
        world.runtime.now = now;
        assert_eq!(world.award(ARBITER, 2_000), want, "{now}");
    }
}

#[test]
fn an_award_has_a_cap() {
    // From 1000, debit 1022, the cap of 2000 reaches to a debit of 3022: 2956, fee 66, and 2957 would be 3023.
    let mut world = disputed();
    world.runtime.now = 1_600;
    assert_eq!(world.clone().award(ARBITER, 2_957), Error::CAP.code());
    assert_eq!(world.clone().award(ARBITER, 3_000), Error::CAP.code());
    assert_eq!(world.award(ARBITER, 2_956), 0);
    assert_eq!(world.vault.amount(), 10_000 - 3_022);

    // Claims in between count for the buyer: the award starts from what vouchers paid.
    let mut world = disputed();
    assert_eq!(world.claim(STRANGER, 2_500), 0);
    world.runtime.now = 1_600;
    for gross in [0, 2_499, 2_500] {
        assert_eq!(world.clone().award(ARBITER, gross), Error::AMOUNT.code(), "{gross}");
    }
    for gross in [3_001, 10_000, u64::MAX] {
        assert_eq!(world.clone().award(ARBITER, gross), Error::AMOUNT.code(), "{gross}");
    }
    assert_eq!(world.award(ARBITER, 3_000), 0);

    // If vouchers passed the disputed amount, nothing is left to award.
    let mut world = disputed();
    assert_eq!(world.claim(SUPPLIER, 3_000), 0);
    world.runtime.now = 1_600;
    for gross in [2_999, 3_000, 3_001, 4_000] {
        assert_eq!(world.award(ARBITER, gross), Error::AMOUNT.code(), "{gross}");
    }
}

#[test]
fn the_cap_is_of_the_deposit_with_its_top_ups() {
    let mut world = disputed();
    world.runtime.now = 1_600;
    assert_eq!(world.clone().award(ARBITER, 3_000), Error::CAP.code());
    assert_eq!(world.top_up(220), 0);
    assert_eq!(world.clone().award(ARBITER, 3_000), Error::CAP.code());
    // 10225 × 20 % = 2045 = 3067 - 1022.
    assert_eq!(world.top_up(5), 0);
    assert_eq!(world.award(ARBITER, 3_000), 0);
}

#[test]
fn a_cap_of_a_small_deposit_rounds_down() {
    let mut world = World::new();
    let small = Terms { deposit: 9_999, arbiter_cap: 1, ..terms() };
    assert_eq!(world.open(&small), 0);
    assert_eq!(world.dispute(SUPPLIER, 1), 0);
    world.runtime.now += 100;
    assert_eq!(world.award(ARBITER, 1), Error::CAP.code());
    assert_eq!(world.top_up(1), 0);
    assert_eq!(world.award(ARBITER, 1), 0);
}

#[test]
fn only_the_arbiter_awards_and_only_the_supplier_disputes() {
    let mut world = disputed();
    world.runtime.now = 1_600;
    for signer in [SUPPLIER, BUYER, TREASURY, AUTHORITY, STRANGER, [0; 32]] {
        refused(&world, world.award_accounts(signer), &number_data(6, 2_000), Error::SIGNER);
    }
    let mut accounts = world.award_accounts(ARBITER);
    accounts[0].signer = false;
    refused(&world, accounts, &number_data(6, 2_000), Error::SIGNER);

    let world = World::opened();
    for signer in [BUYER, ARBITER, TREASURY, AUTHORITY, STRANGER, [0; 32]] {
        refused(&world, world.signed_accounts(signer), &number_data(5, 2_000), Error::SIGNER);
    }
    let mut accounts = world.signed_accounts(SUPPLIER);
    accounts[0].signer = false;
    refused(&world, accounts, &number_data(5, 2_000), Error::SIGNER);
}

#[test]
fn the_arbiter_alone_takes_nothing() {
    let mut world = World::opened();
    for now in [START, 1_100, 1_999, 2_000, 2_001, 5_000] {
        world.runtime.now = now;
        assert_eq!(world.award(ARBITER, 1), Error::DISPUTE.code());
    }
}

#[test]
fn there_is_one_dispute_and_one_award() {
    let mut world = disputed();
    assert_eq!(world.dispute(SUPPLIER, 4_000), Error::DISPUTE.code());
    world.runtime.now = 1_600;
    assert_eq!(world.award(ARBITER, 2_000), 0);
    assert_eq!(world.award(ARBITER, 2_500), Error::DISPUTE.code());
    assert_eq!(world.dispute(SUPPLIER, 4_000), Error::DISPUTE.code());
    // Nor after one that lapsed, not even when the buyer moves the deadline.
    let mut world = disputed();
    world.runtime.now = 1_700;
    assert_eq!(world.dispute(SUPPLIER, 4_000), Error::DISPUTE.code());
    assert_eq!(world.extend(BUYER, 90_000), 0);
    assert_eq!(world.dispute(SUPPLIER, 4_000), Error::DISPUTE.code());
    assert_eq!(world.award(ARBITER, 2_000), Error::TIME.code());
}

#[test]
fn without_arbitration_there_is_no_dispute() {
    let mut world = World::new();
    assert_eq!(world.open(&plain_terms()), 0);
    assert_eq!(world.dispute(SUPPLIER, 1_000), Error::DISPUTE.code());
    // The zero key signs nothing on the chain; even if it did.
    assert_eq!(world.award([0; 32], 1_000), Error::DISPUTE.code());
    assert_eq!(world.award(ARBITER, 1_000), Error::SIGNER.code());
}

#[test]
fn a_dispute_has_limits() {
    let mut world = World::opened();
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    for gross in [0, 999, 1_000, 9_781, 10_000, u64::MAX] {
        assert_eq!(world.dispute(SUPPLIER, gross), Error::AMOUNT.code(), "{gross}");
    }
    assert_eq!(world.clone().dispute(SUPPLIER, 9_780), 0);
    // As long as nobody else may close the lease.
    world.runtime.now = 2_001;
    assert_eq!(world.dispute(SUPPLIER, 1_001), Error::TIME.code());
    world.runtime.now = 2_000;
    assert_eq!(world.close(BUYER), Error::TIME.code());
    assert_eq!(world.dispute(SUPPLIER, 1_001), 0);
}

#[test]
fn a_dispute_holds_the_refund_for_a_bounded_time() {
    for submitter in [BUYER, STRANGER, ARBITER] {
        let mut world = World::opened();
        world.runtime.now = 2_000;
        assert_eq!(world.dispute(SUPPLIER, 1_000), 0);
        for (now, want) in
            [(2_000, Error::TIME), (2_001, Error::HELD), (2_100, Error::HELD), (2_199, Error::HELD)]
        {
            world.runtime.now = now;
            assert_eq!(world.close(submitter), want.code(), "{now}");
        }
        world.runtime.now = 2_200;
        assert_eq!(world.close(submitter), 0);
        assert_eq!(world.buyer_tokens.amount(), WEALTH);
    }
}

#[test]
fn a_dispute_that_is_over_holds_nothing() {
    // Awarded.
    let mut world = World::opened();
    world.runtime.now = 2_000;
    assert_eq!(world.dispute(SUPPLIER, 1_000), 0);
    world.runtime.now = 2_100;
    assert_eq!(world.award(ARBITER, 1_000), 0);
    assert_eq!(world.close(STRANGER), 0);
    assert_eq!(world.buyer_tokens.amount(), WEALTH - 1_022);
    // Closed by the supplier.
    let mut world = disputed();
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(magic(&world.lease), lease::CLOSED);
    world.runtime.now = 1_600;
    assert_eq!(world.award(ARBITER, 2_000), Error::STATE.code());
    // Lapsed before the deadline: only the deadline counts.
    let mut world = disputed();
    world.runtime.now = 2_000;
    assert_eq!(world.close(BUYER), Error::TIME.code());
    world.runtime.now = 2_001;
    assert_eq!(world.close(BUYER), 0);
}

/// The supplier holds back a voucher until after the award: what both bring together is no more than the larger.
#[test]
fn a_voucher_held_back_adds_nothing_to_an_award() {
    let mut world = World::opened();
    assert_eq!(world.dispute(SUPPLIER, 9_780), 0);
    world.runtime.now = 1_100;
    // 2000 of debit from nothing: 1956 and its fee of 44.
    assert_eq!(world.award(ARBITER, 1_956), 0);
    assert_eq!(world.claim(SUPPLIER, 1_000), Error::AMOUNT.code());
    assert_eq!(world.claim(SUPPLIER, 1_957), 0);
    assert_eq!(world.vault.amount(), 10_000 - 2_001);
}

#[test]
fn the_longest_delay_does_not_overflow() {
    let mut world = World::new();
    let slow = Terms { dispute_delay: 2_592_000, ..terms() };
    assert_eq!(world.open(&slow), 0);
    world.runtime.now = 2_000;
    assert_eq!(world.dispute(SUPPLIER, 1_000), 0);
    for (now, award, close) in [
        (2_000 + 2_592_000 - 1, 106, 113),
        (2_000 + 2_592_000, 0, 113),
        (2_000 + 5_184_000 - 1, 0, 113),
        (2_000 + 5_184_000, 106, 0),
        (i64::MAX, 106, 0),
    ] {
        let mut world = world.clone();
        world.runtime.now = now;
        assert_eq!(world.clone().award(ARBITER, 1_000), award, "{now}");
        assert_eq!(world.close(BUYER), close, "{now}");
    }
    // A clock at the end of time neither panics nor opens anything.
    world.lease.data[240..248].copy_from_slice(&(i64::MAX - 1).to_le_bytes());
    world.runtime.now = i64::MAX;
    assert_eq!(world.award(ARBITER, 1_000), Error::TIME.code());
}

#[test]
fn award_refuses_bad_accounts() {
    let mut world = disputed();
    world.runtime.now = 1_600;
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.award_accounts(ARBITER);
        change(&mut accounts);
        refused(&world, accounts, &number_data(6, 2_000), want);
    };
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::OWNER, &|a| a[1].owner = [99; 32]);
    with(Error::STATE, &|a| a[1].data[0] ^= 1);
    with(Error::STATE, &|a| a[1] = world.config.clone());
    with(Error::STATE, &|a| a[1].writable = false);
    with(Error::PDA, &|a| a[2].key = [99; 32]);
    with(Error::PDA, &|a| a[2] = world.buyer_tokens.clone());
    with(Error::MINT, &|a| a[3] = world.io.clone());
    with(Error::PARTY, &|a| a[4] = world.stranger_tokens.clone());
    with(Error::PARTY, &|a| a[4] = world.treasury_tokens.clone());
    with(Error::PARTY, &|a| a[4] = world.vault.clone());
    with(Error::PARTY, &|a| a[4] = State::tokens([12; 32], &IO, &SUPPLIER, 0).write());
    with(Error::PARTY, &|a| a[5] = world.stranger_tokens.clone());
    with(Error::PARTY, &|a| a[5] = world.supplier_tokens.clone());
    with(Error::ARGUMENT, &|a| a[6].key = [99; 32]);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
}

#[test]
fn dispute_refuses_bad_accounts() {
    let world = World::opened();
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.signed_accounts(SUPPLIER);
        change(&mut accounts);
        refused(&world, accounts, &number_data(5, 2_000), want);
    };
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::STATE, &|a| a[1].data[0] ^= 1);
    with(Error::STATE, &|a| a[1].data[233] = 1);
    with(Error::STATE, &|a| a[1] = world.config.clone());
    with(Error::STATE, &|a| a[1].writable = false);
    // The supplier's wallet twice: it is no lease.
    with(Error::OWNER, &|a| a[1] = a[0].clone());
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
}

#[test]
fn a_frozen_account_stops_an_award_as_a_whole() {
    let mut world = disputed();
    world.runtime.now = 1_600;
    for frozen in [2, 4, 5] {
        let mut accounts = world.award_accounts(ARBITER);
        accounts[frozen].data[108] = 2;
        let before = accounts.clone();
        assert_eq!(world.runtime.run(&mut accounts, &number_data(6, 2_000)), 17);
        assert_eq!(accounts, before);
    }
    assert_eq!(world.award(ARBITER, 2_000), 0);
}
