// SPDX-License-Identifier: Apache-2.0
//! Top-ups and extensions: what the buyer may change in an open lease.

mod world;

use bourse::error::Error;
use bourse::host::State;
use bourse::{lease, system, token};
use world::*;

#[test]
fn a_top_up_adds_to_the_deposit() {
    let mut world = World::opened();
    assert_eq!(world.claim(SUPPLIER, 9_780), 0);
    assert_eq!(world.claim(SUPPLIER, 9_781), Error::AMOUNT.code());
    assert_eq!(world.top_up(1_022), 0);
    assert_eq!((world.vault.amount(), world.buyer_tokens.amount()), (1_022, WEALTH - 11_022));
    assert_eq!(world.lease.data[200..208], 11_022u64.to_le_bytes());
    assert_eq!(world.claim(SUPPLIER, 10_780), 0);
    assert_eq!(world.claim(SUPPLIER, 10_781), Error::AMOUNT.code());
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(world.tokens(), world.mint.supply());
}

/// Whenever it comes, what was not earned goes back.
#[test]
fn a_top_up_comes_back_like_the_deposit() {
    for now in [START, 2_000, 2_001, 9_000] {
        let mut world = World::opened();
        assert_eq!(world.dispute(SUPPLIER, 1_000), 0);
        world.runtime.now = now;
        assert_eq!(world.top_up(5), 0);
        assert_eq!(world.close(SUPPLIER), 0);
        assert_eq!(world.buyer_tokens.amount(), WEALTH);
        assert_eq!(world.top_up(5), Error::STATE.code());
    }
}

#[test]
fn a_top_up_has_limits() {
    let mut world = World::opened();
    assert_eq!(world.top_up(0), Error::AMOUNT.code());
    assert_eq!(world.top_up(u64::MAX - 9_999), Error::AMOUNT.code());
    assert_eq!(world.top_up(u64::MAX), Error::AMOUNT.code());
    // More than the buyer has is the Token program's to refuse, and then nothing is recorded.
    assert_eq!(world.top_up(WEALTH - 9_999), 1);
    assert_eq!(world.lease.data[200..208], 10_000u64.to_le_bytes());
    assert_eq!(world.top_up(WEALTH - 10_000), 0);
    assert_eq!(world.buyer_tokens.amount(), 0);
}

#[test]
fn top_up_refuses_bad_accounts() {
    let world = World::opened();
    let data = number_data(3, 500);
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.top_up_accounts();
        change(&mut accounts);
        refused(&world, accounts, &data, want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::SIGNER, &|a| a[0] = State::wallet(STRANGER, 5).sign());
    with(Error::SIGNER, &|a| a[0] = State::wallet(SUPPLIER, 5).sign());
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::STATE, &|a| a[1].data[7] = 2);
    with(Error::STATE, &|a| a[1].data[233] = 1);
    with(Error::STATE, &|a| a[1] = world.config.clone());
    with(Error::STATE, &|a| a[1].writable = false);
    // Into another account: the deposit would grow and the vault would not.
    with(Error::PDA, &|a| a[2] = world.stranger_tokens.clone());
    with(Error::PDA, &|a| a[2] = world.buyer_tokens.clone());
    with(Error::MINT, &|a| a[3] = world.io.clone());
    with(Error::ARGUMENT, &|a| a[5].key = [99; 32]);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
    // From the vault to itself, or from somebody else's account: the Token program asks for the owner.
    for from in [world.vault.clone(), world.supplier_tokens.clone()] {
        let mut accounts = world.top_up_accounts();
        accounts[4] = from;
        let before = accounts.clone();
        assert_eq!(world.runtime.run(&mut accounts, &data), 4);
        assert_eq!(accounts, before);
    }
}

#[test]
fn an_extension_moves_the_deadline() {
    let mut world = World::opened();
    assert_eq!(world.extend(BUYER, 3_000), 0);
    assert_eq!(world.lease.data[216..224], 3_000i64.to_le_bytes());
    world.runtime.now = 2_500;
    assert_eq!(world.close(BUYER), Error::TIME.code());
    // Even after the deadline, as long as nobody has closed the lease.
    world.runtime.now = 3_001;
    assert_eq!(world.clone().close(STRANGER), 0);
    assert_eq!(world.extend(BUYER, 4_000), 0);
    assert_eq!(world.close(STRANGER), Error::TIME.code());
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(world.extend(BUYER, 5_000), Error::STATE.code());
    assert_eq!(world.tokens(), world.mint.supply());
}

#[test]
fn a_deadline_is_never_moved_nearer_nor_too_far() {
    let mut world = World::opened();
    for deadline in [1_001, 1_999, 2_000, START + lease::MAX_TERM + 1, i64::MAX, i64::MIN, -1] {
        assert_eq!(world.extend(BUYER, deadline), Error::TIME.code(), "{deadline}");
    }
    assert_eq!(world.extend(BUYER, START + lease::MAX_TERM), 0);
    // A deadline that would be over at once.
    let mut world = World::opened();
    world.runtime.now = 5_000;
    assert_eq!(world.extend(BUYER, 4_999), Error::TIME.code());
    assert_eq!(world.extend(BUYER, 5_000), Error::TIME.code());
    assert_eq!(world.extend(BUYER, 5_001), 0);
}

/// A longer deadline does not make a dispute longer, and none is shortened.
#[test]
fn an_extension_does_not_touch_a_dispute() {
    let mut world = World::opened();
    world.runtime.now = 2_000;
    assert_eq!(world.dispute(SUPPLIER, 1_000), 0);
    assert_eq!(world.extend(BUYER, 2_050), 0);
    world.runtime.now = 2_099;
    assert_eq!(world.award(ARBITER, 1_000), Error::TIME.code());
    assert_eq!(world.close(BUYER), Error::HELD.code());
    world.runtime.now = 2_100;
    assert_eq!(world.clone().award(ARBITER, 1_000), 0);
    world.runtime.now = 2_200;
    assert_eq!(world.award(ARBITER, 1_000), Error::TIME.code());
    assert_eq!(world.close(BUYER), 0);
}

#[test]
fn only_the_buyer_extends() {
    let world = World::opened();
    let data = number_data(4, 3_000);
    for signer in [SUPPLIER, ARBITER, AUTHORITY, STRANGER] {
        refused(&world, world.signed_accounts(signer), &data, Error::SIGNER);
    }
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.signed_accounts(BUYER);
        change(&mut accounts);
        refused(&world, accounts, &data, want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::OWNER, &|a| a[1].owner = token::ID);
    with(Error::STATE, &|a| a[1].data[7] = 2);
    with(Error::STATE, &|a| a[1] = world.config.clone());
    with(Error::STATE, &|a| a[1].writable = false);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
}

#[test]
fn numbers_have_eight_bytes() {
    let world = World::opened();
    for (instruction, accounts) in [
        (3, world.top_up_accounts()),
        (4, world.signed_accounts(BUYER)),
        (5, world.signed_accounts(SUPPLIER)),
        (6, world.award_accounts(ARBITER)),
    ] {
        for len in [1, 8, 10] {
            let mut data = number_data(instruction, 1_500);
            data.resize(len, 0);
            refused(&world, accounts.clone(), &data, Error::ARGUMENT);
        }
    }
}
