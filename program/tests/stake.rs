// SPDX-License-Identifier: Apache-2.0
//! The life of a pool, and every way in which an instruction about stakes is refused.

mod market;

use bourse::error::Error;
use bourse::host::State;
use bourse::stake::{pool, position};
use bourse::{system, token};
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
fn a_pool_lives() {
    let mut market = staked();
    assert_eq!((market.total(), market.shares(), market.pool_word(120)), (1_500, 1_500, 1_000));
    assert_eq!(market.amount(market.vault(OWNER)), 1_500);
    assert_eq!((market.position_word(OWNER, 72), market.position_word(ALICE, 72)), (1_000, 500));
    assert_eq!(market.amount(tokens(ALICE)), WEALTH - 500);

    // Alice wants 200 back; they are slashed like all others.
    market.done(market.unbond(ALICE, 200));
    let words = [72, 80, 88].map(|at| market.position_word(ALICE, at));
    assert_eq!(words, [300, 200, (NOW + 14 * DAY) as u64]);
    assert_eq!((market.shares(), market.pool_word(128)), (1_500, 200));
    let supply = market.supply();
    market.done(market.propose(150));
    market.wait(7 * DAY);
    market.done(market.execute(STRANGER, 1));
    assert_eq!((market.total(), market.shares(), market.pool_word(136)), (1_350, 1_500, 150));
    assert_eq!((market.supply(), market.amount(market.vault(OWNER))), (supply - 150, 1_350));

    market.wait(7 * DAY);
    market.done(market.withdraw(ALICE));
    assert_eq!(market.amount(tokens(ALICE)), WEALTH - 500 + 180);
    assert_eq!((market.total(), market.shares(), market.pool_word(128)), (1_170, 1_300, 0));
    // A new bond gets shares at their price of now: 90 for 100.
    market.done(market.bond(ALICE, 90));
    assert_eq!((market.position_word(ALICE, 72), market.total()), (400, 1_260));
}

#[test]
fn the_accounts_are_laid_out_as_documented() {
    let mut market = staked();
    market.done(market.unbond(ALICE, 100));
    market.done(market.propose(150));
    let mut want = b"bourse2\x20".to_vec();
    for key in [market.config, OWNER, MINT] {
        want.extend(key);
    }
    let words = [1_500u64, 1_500, 1_000, 100, 0, 0, 1_500, 1_500, 0, 150];
    words.iter().for_each(|word| want.extend(word.to_le_bytes()));
    let times = [NOW, NOW + 7 * DAY, NOW + 37 * DAY];
    times.iter().for_each(|time| want.extend(time.to_le_bytes()));
    want.extend(EVIDENCE);
    want.extend(ARBITER);
    want.extend([1, 0, 0, 0, 1, 3, DECIMALS, 255, 255, 2, 0, 0, 0, 0, 0, 0]);
    let pool = market.state(market.pool(OWNER));
    assert_eq!((pool.data.len(), pool.lamports), (288, system::rent(288)));
    assert_eq!(pool.data, want);

    let mut want = b"bourse2\x21".to_vec();
    want.extend(market.pool(OWNER));
    want.extend(ALICE);
    let words = [400, 100, (NOW + 14 * DAY) as u64];
    words.iter().for_each(|word| want.extend(word.to_le_bytes()));
    want.extend([255, 2, 0, 0, 0, 0, 0, 0]);
    let position = market.state(market.position(OWNER, ALICE));
    assert_eq!((&position.data, position.lamports), (&want, system::rent(104)));

    // An executed slash leaves its sum, its time and the mark; a dropped one nothing.
    market.wait(7 * DAY);
    market.done(market.execute(BOB, 1));
    let data = market.state(market.pool(OWNER)).data;
    assert_eq!(data[136..144], 150u64.to_le_bytes());
    assert_eq!(data[144..152], (NOW + 7 * DAY).to_le_bytes());
    assert_eq!(data[152..160], 1_500u64.to_le_bytes());
    assert_eq!(data[168..176], (NOW + 8 * DAY).to_le_bytes());
    assert!(data[176..272].iter().all(|byte| *byte == 0));
    assert_eq!(data[272..278], [1, 0, 0, 0, 0, 0]);
}

#[test]
fn create_refuses_bad_accounts() {
    let mut market = Market::new();
    let good = market.create(OWNER);
    market.refused(&good.with(0, write(OWNER)), Error::SIGNER);
    market.refused(&good.with(1, read(TREASURY)), Error::OWNER);
    market.refused(&good.with(2, write([99; 32])), Error::PDA);
    market.refused(&good.with(3, write([99; 32])), Error::PDA);
    market.refused(&good.with(4, read(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(4, read(tokens(OWNER))), Error::MINT);
    market.refused(&good.with(5, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.with(6, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.bytes(1, &[254]), Error::PDA);
    market.refused(&good.bytes(2, &[254]), Error::PDA);
    let mut long = good.clone();
    long.accounts.push(read(STRANGER));
    market.refused(&long, Error::ARGUMENT);

    // Addresses that are derived rightly, but are not canonical.
    let other = market.runtime.derive(&[b"pool", &market.config, &OWNER], 254);
    let vault = market.runtime.find(&[b"pool-vault", &other]).0;
    market.refused(&good.with(2, write(other)).with(3, write(vault)).bytes(1, &[254]), Error::PDA);
    let vault = market.runtime.derive(&[b"pool-vault", &market.pool(OWNER)], 254);
    market.refused(&good.with(3, write(vault)).bytes(2, &[254]), Error::PDA);

    // Lamports at the addresses change nothing; a second pool is refused.
    market.put(State::wallet(market.pool(OWNER), 1));
    market.put(State::wallet(market.vault(OWNER), 1 << 30));
    market.done(good.clone());
    market.refused(&good, Error::STATE);
}

#[test]
fn a_configuration_of_another_program_is_none() {
    let mut market = Market::new();
    let mut config = market.state(market.config);
    config.owner = [99; 32];
    market.put(config.clone());
    market.refused(&market.create(OWNER), Error::OWNER);
    // Nor is another account of this program one.
    config.owner = market.runtime.program;
    config.data[7] = 0x20;
    market.put(config);
    market.refused(&market.create(OWNER), Error::STATE);
}

#[test]
fn wrapped_sol_is_refused() {
    let mut market = Market::new();
    market.put(State::mint(token::NATIVE, 0, 9));
    market.done(market.create_config(BOB, token::NATIVE, TERMS));
    market.config = market.runtime.find(&[b"config", &BOB]).0;
    market.refused(&market.create(OWNER).with(4, read(token::NATIVE)), Error::MINT);
}

#[test]
fn bond_refuses_bad_accounts_and_amounts() {
    let mut market = Market::opened();
    market.done(market.bond(OWNER, 1_000));
    let good = market.bond(ALICE, 500);
    market.refused(&good.with(0, write(ALICE)), Error::SIGNER);
    market.refused(&good.with(1, read(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(market.config)), Error::STATE);
    market.refused(&good.with(2, read(market.pool(OWNER))), Error::STATE);
    market.refused(&good.with(3, write([99; 32])), Error::PDA);
    market.refused(&good.with(3, write(market.position(OWNER, BOB))), Error::PDA);
    market.refused(&good.with(3, write(market.position(OWNER, OWNER))), Error::SIGNER);
    market.refused(&good.with(3, write(market.pool(OWNER))), Error::STATE);
    market.refused(&good.with(4, write(tokens(BOB))), Error::PDA);
    market.refused(&good.with(5, read(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(7, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.with(8, read([99; 32])), Error::ARGUMENT);
    market.refused(&market.bond(ALICE, 0), Error::AMOUNT);
    market.refused(&good.bytes(9, &[254]), Error::PDA);
    // What belongs to somebody else, or is not there, is the Token program's to refuse.
    assert_eq!(market.send(&good.with(6, write(tokens(BOB)))), 4);
    assert_eq!(market.send(&good.with(6, write(market.vault(OWNER)))), 4);
    assert_eq!(market.send(&good.with(6, write(tokens_of(ALICE, OTHER_MINT)))), 3);
    assert_eq!(market.send(&market.bond(OWNER, WEALTH)), 1);
    let other = market.runtime.derive(&[b"position", &market.pool(OWNER), &ALICE], 254);
    market.refused(&good.with(3, write(other)).bytes(9, &[254]), Error::PDA);
}

#[test]
fn a_pool_belongs_to_one_configuration() {
    let mut market = staked();
    market.done(market.create_config(STRANGER, MINT, Terms { cooldown: 0, ..TERMS }));
    let other = market.runtime.find(&[b"config", &STRANGER]).0;
    market.done(market.unbond(ALICE, 1));
    market.refused(&market.bond(ALICE, 1).with(1, read(other)), Error::PARTY);
    market.refused(&market.unbond(ALICE, 1).with(1, read(other)), Error::PARTY);
    let call = market.propose(1).with(0, sign(STRANGER)).with(1, read(other));
    market.refused(&call, Error::PARTY);
    market.done(market.propose(1));
    market.refused(&market.drop_slash(STRANGER, 1).with(1, read(other)), Error::PARTY);
}

#[test]
fn accounts_of_another_pool_are_refused() {
    let mut market = staked();
    market.done(market.create(BOB));
    // Bob's own stake in Bob's pool.
    let mine = [market.pool(BOB), market.position(BOB, BOB), market.vault(BOB)].map(write);
    let [pool, held, vault] = mine;
    market.done(market.bond(BOB, 700).with(2, pool).with(3, held).with(4, vault));
    market.done(market.unbond(BOB, 700).with(2, pool).with(3, held));
    market.wait(14 * DAY);
    let good = market.withdraw(BOB).with(1, pool).with(2, held).with(3, vault);
    // The position of one pool takes nothing from another.
    market.refused(&good.with(1, write(market.pool(OWNER))), Error::PARTY);
    market.refused(&good.with(3, write(market.vault(OWNER))), Error::PDA);
    let swapped = good.with(1, write(market.pool(OWNER))).with(3, write(market.vault(OWNER)));
    market.refused(&swapped, Error::PARTY);
    market.refused(&market.unbond(BOB, 1).with(3, held), Error::PARTY);
    market.refused(&market.bond(BOB, 1).with(3, held), Error::PARTY);
    market.done(market.propose(150));
    market.wait(7 * DAY);
    market.refused(&market.execute(BOB, 1).with(2, vault), Error::PDA);
    market.refused(&market.execute(BOB, 1).with(1, pool).with(2, vault), Error::STATE);
    market.done(good);
    assert_eq!(market.amount(tokens(BOB)), WEALTH);
}

#[test]
fn delegators_may_hold_as_much_as_the_terms_say() {
    for (limit, most) in [(10_000, 1_001), (5_000, 500), (1, 0), (0, 0)] {
        let mut market = Market::with(Terms { max_delegation: limit, ..TERMS });
        market.done(market.create(OWNER));
        market.refused(&market.bond(ALICE, 1), Error::CAP);
        market.done(market.bond(OWNER, 1_001));
        market.refused(&market.bond(ALICE, most + 1), Error::CAP);
        if most > 0 {
            market.done(market.bond(ALICE, most - 1));
            market.refused(&market.bond(BOB, 2), Error::CAP);
            market.done(market.bond(BOB, 1));
        }
        market.refused(&market.bond(BOB, 1), Error::CAP);
        // The owner's own stake has no cap.
        market.done(market.bond(OWNER, 100_000));
    }
}

#[test]
fn the_owner_may_leave_delegators_behind() {
    let mut market = staked();
    market.done(market.unbond(OWNER, 900));
    assert_eq!(market.pool_word(120), 100);
    // More than the cap is delegated now: nothing new, but everybody can leave.
    market.refused(&market.bond(ALICE, 1), Error::CAP);
    market.done(market.unbond(ALICE, 400));
    market.refused(&market.bond(ALICE, 1), Error::CAP);
    market.done(market.unbond(ALICE, 1));
    market.done(market.bond(ALICE, 1));
    market.wait(14 * DAY);
    market.done(market.withdraw(OWNER));
    market.done(market.withdraw(ALICE));
    assert_eq!((market.total(), market.pool_word(120), market.pool_word(128)), (200, 100, 0));
}

#[test]
fn unbond_refuses() {
    let mut market = staked();
    let good = market.unbond(ALICE, 500);
    market.refused(&good.with(0, read(ALICE)), Error::SIGNER);
    market.refused(&good.with(0, sign(OWNER)), Error::SIGNER);
    market.refused(&good.with(1, read(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, read(market.pool(OWNER))), Error::STATE);
    market.refused(&good.with(3, read(market.position(OWNER, ALICE))), Error::STATE);
    market.refused(&good.with(3, write(market.position(OWNER, BOB))), Error::OWNER);
    market.refused(&good.with(3, write(market.pool(OWNER))), Error::STATE);
    market.refused(&market.unbond(ALICE, 0), Error::AMOUNT);
    market.refused(&market.unbond(ALICE, 501), Error::AMOUNT);
    market.done(market.unbond(ALICE, 300));
    market.refused(&market.unbond(ALICE, 201), Error::AMOUNT);
}

#[test]
fn unbonding_more_starts_the_clock_anew() {
    let mut market = staked();
    market.done(market.unbond(ALICE, 100));
    market.wait(13 * DAY);
    market.done(market.unbond(ALICE, 100));
    assert_eq!(market.position_word(ALICE, 88), (NOW + 27 * DAY) as u64);
    market.wait(DAY);
    market.refused(&market.withdraw(ALICE), Error::TIME);

    // A shorter cooldown does not shorten what runs already.
    let mut config = market.state(market.config);
    let at = config.data.windows(4).position(|w| w == TERMS.cooldown.to_le_bytes()).unwrap();
    config.data[at..at + 4].copy_from_slice(&0u32.to_le_bytes());
    market.put(config);
    market.done(market.unbond(ALICE, 100));
    assert_eq!(market.position_word(ALICE, 88), (NOW + 27 * DAY) as u64);
    market.runtime.now = NOW + 27 * DAY - 1;
    market.refused(&market.withdraw(ALICE), Error::TIME);
    market.wait(1);
    market.done(market.withdraw(ALICE));
    assert_eq!(market.amount(tokens(ALICE)), WEALTH - 200);
    assert_eq!(market.position_word(ALICE, 88), 0);
}

#[test]
fn withdraw_refuses() {
    let mut market = staked();
    let good = market.withdraw(ALICE);
    market.refused(&good, Error::AMOUNT);
    market.done(market.unbond(ALICE, 500));
    market.refused(&good, Error::TIME);
    market.wait(14 * DAY);
    market.refused(&good.with(0, read(ALICE)), Error::SIGNER);
    market.refused(&good.with(0, sign(BOB)).with(5, write(tokens(BOB))), Error::SIGNER);
    market.refused(&good.with(1, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(1, read(market.pool(OWNER))), Error::STATE);
    market.refused(&good.with(2, read(market.position(OWNER, ALICE))), Error::STATE);
    market.refused(&good.with(3, write(tokens(ALICE))), Error::PDA);
    market.refused(&good.with(4, read(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(5, write(tokens(BOB))), Error::PARTY);
    market.refused(&good.with(5, write(tokens_of(ALICE, OTHER_MINT))), Error::PARTY);
    market.refused(&good.with(5, write(market.vault(OWNER))), Error::PARTY);
    market.refused(&good.with(6, read([99; 32])), Error::ARGUMENT);
    market.done(good.clone());
    assert_eq!(market.amount(tokens(ALICE)), WEALTH);
    market.refused(&good, Error::AMOUNT);
    // The position stays, empty, and can be used again.
    market.done(market.bond(ALICE, 5));
}

#[test]
fn tokens_sent_to_the_vault_change_nothing() {
    let mut market = staked();
    let mut vault = market.state(market.vault(OWNER));
    vault.data[64..72].copy_from_slice(&1_000_000u64.to_le_bytes());
    market.put(vault);
    market.done(market.bond(OWNER, 100));
    assert_eq!((market.total(), market.shares()), (1_600, 1_600));
    market.done(market.unbond(OWNER, 1_100));
    market.wait(14 * DAY);
    market.done(market.withdraw(OWNER));
    assert_eq!(market.amount(tokens(OWNER)), WEALTH);
}

/// Each account of each instruction belongs to the program and says what it is.
#[test]
fn accounts_that_only_look_right_are_refused() {
    let mut good = accused();
    good.done(good.unbond(ALICE, 1));
    good.wait(14 * DAY);
    let calls = [good.bond(OWNER, 1), good.unbond(ALICE, 1), good.withdraw(ALICE), good.execute(BOB, 1)];
    let calls = calls.into_iter().chain([good.propose(1), good.appeal(1), good.drop_slash(AUTHORITY, 1)]);
    for call in calls {
        let own = [good.pool(OWNER), good.position(OWNER, ALICE), good.position(OWNER, OWNER)];
        for key in own.into_iter().filter(|key| call.accounts.iter().any(|meta| meta.key == *key)) {
            let version = if key == good.pool(OWNER) { 281 } else { 97 };
            for (at, want) in [(None, Error::OWNER), (Some(7), Error::STATE), (Some(version), Error::STATE)] {
                let mut market = good.clone();
                let mut state = market.state(key);
                match at {
                    None => state.owner = [99; 32],
                    Some(at) => state.data[at] ^= 1,
                }
                market.put(state);
                market.refused(&call, want);
            }
        }
    }
    assert_ne!(pool::MAGIC, position::MAGIC);
}

#[test]
fn data_of_another_length_is_refused() {
    let mut market = accused();
    market.done(market.unbond(ALICE, 1));
    market.wait(14 * DAY);
    let calls = [
        market.create(BOB),
        market.bond(OWNER, 1),
        market.unbond(ALICE, 1),
        market.withdraw(ALICE),
        market.propose(1),
        market.appeal(1),
        market.execute(BOB, 1),
        market.drop_slash(AUTHORITY, 1),
    ];
    for call in calls {
        let mut long = call.clone();
        long.data.push(0);
        market.refused(&long, Error::ARGUMENT);
        let mut short = call.clone();
        short.data.pop();
        market.refused(&short, Error::ARGUMENT);
        let mut few = call.clone();
        few.accounts.pop();
        market.refused(&few, Error::ARGUMENT);
        let mut many = call.clone();
        many.accounts.push(read(STRANGER));
        market.refused(&many, Error::ARGUMENT);
    }
    for number in [15, 24, 31, 35] {
        let call = Call { accounts: market.withdraw(ALICE).accounts, data: vec![number] };
        market.refused(&call, Error::ARGUMENT);
    }
}
