// SPDX-License-Identifier: Apache-2.0
//! Accounts in wrong places, damaged proofs, arbitrary data.

mod world;

use bourse::abi::Key;
use bourse::host::State;
use bourse::{system, token};
use world::*;

/// The instructions, with accounts and data as they should be.
fn instruction(random: &mut Random, world: &World, number: u64, gross: u64) -> (Vec<State>, Vec<u8>) {
    let somebody = random.of(&[SUPPLIER, STRANGER, BUYER, ARBITER]);
    match number {
        0 => (world.open_accounts(), terms().data()),
        1 => (world.claim_accounts(somebody, world.proof(gross)), claim_data(gross)),
        2 => (world.close_accounts(somebody), vec![2]),
        3 => (world.top_up_accounts(), number_data(3, gross)),
        4 => (world.signed_accounts(somebody), number_data(4, 1_000 + gross)),
        5 => (world.signed_accounts(somebody), number_data(5, gross)),
        6 => (world.award_accounts(random.of(&[ARBITER, ARBITER, ARBITER, somebody])), number_data(6, gross)),
        7 => (world.create_accounts(), create_data(LOCK, &market(), 255)),
        8 => (world.propose_accounts(), propose_data(&bourse::config::Terms { cooldown: 1, ..market() })),
        _ => (vec![world.config.clone()], vec![9]),
    }
}

/// Everything that could be put where something else belongs.
fn pool(world: &World, sysvar: State) -> Vec<State> {
    let foreign: Key = [14; 32];
    vec![
        world.config.clone(),
        world.io.clone(),
        world.buyer.clone(),
        world.lease.clone(),
        world.vault.clone(),
        world.mint.clone(),
        world.buyer_tokens.clone(),
        world.supplier_tokens.clone(),
        world.treasury_tokens.clone(),
        world.stranger_tokens.clone(),
        sysvar,
        State::wallet(token::ID, 1),
        State::wallet(system::ID, 1),
        State::wallet(STRANGER, 5).sign(),
        State::wallet(SUPPLIER, 5).sign(),
        State::wallet(ARBITER, 5).sign(),
        State::wallet(foreign, 5).sign().write(),
    ]
}

fn damage(random: &mut Random, world: &World, accounts: &mut Vec<State>, data: &mut Vec<u8>) {
    let mut sysvar = world.proof(random.below(12_000));
    for _ in 0..random.below(3) {
        let at = random.below(sysvar.data.len() as u64) as usize;
        sysvar.data[at] = random.word() as u8;
    }
    let pool = pool(world, sysvar);
    for _ in 0..random.below(3) {
        let at = random.below(accounts.len() as u64) as usize;
        accounts[at] = pool[random.below(pool.len() as u64) as usize].clone();
    }
    if random.below(3) == 0 {
        let at = random.below(data.len() as u64) as usize;
        data[at] = random.word() as u8;
    }
    if random.below(16) == 0 {
        data.truncate(random.below(data.len() as u64) as usize);
    }
    if random.below(16) == 0 {
        accounts.truncate(random.below(accounts.len() as u64) as usize);
    }
}

/// A world in some state, and the most that may leave the vault in one instruction without a voucher.
fn some_world(random: &mut Random) -> (World, u64) {
    let mut world = match random.below(8) {
        0 => return (World::empty(), 0),
        1 => return (World::new(), 0),
        _ => World::opened(),
    };
    world.runtime.now = 1_400;
    if random.below(2) == 0 {
        return (world, 0);
    }
    assert_eq!(world.dispute(SUPPLIER, 9_000), 0);
    (world, 2_000)
}

/// Refused without any change; or value is conserved, nothing goes to a stranger, the configuration is only changed
/// by its authority or its clock, and only what a voucher or the cap allows leaves the vault.
#[test]
fn garbage_is_refused_or_harmless() {
    let mut random = Random::seeded(7);
    let mut accepted = [0; 10];
    for _ in 0..200_000 {
        let (mut world, cap) = some_world(&mut random);
        world.runtime.now = random.of(&[1_400, 1_500, 1_550, 1_599, 1_600, 2_500]);
        let most = random.of(&[12_000, 2_500]);
        let gross = random.below(most);
        let number = random.below(10);
        let (mut accounts, mut data) = instruction(&mut random, &world, number, gross);
        damage(&mut random, &world, &mut accounts, &mut data);
        let before = accounts.clone();
        if world.runtime.run(&mut accounts, &data) != 0 {
            assert_eq!(before, accounts);
            continue;
        }
        accepted[data[0] as usize] += 1;
        let was = world.clone();
        world.take(&accounts);
        assert_eq!(was.tokens() - world.tokens(), was.mint.supply() - world.mint.supply(), "value conserved");
        assert_eq!(world.stranger_tokens.amount(), 0, "paid to a stranger");
        let authority = accounts.iter().any(|a| a.key == AUTHORITY && a.signer);
        assert!(world.config == was.config || authority, "the market's terms changed");
        let paid = world.supplier_tokens.amount() + world.treasury_tokens.amount();
        match data[0] {
            1 => assert!(paid < gross + gross / 40 + 1, "paid {paid} for a voucher of {gross}"),
            6 => assert!(paid <= cap, "paid {paid} by an award"),
            _ => assert_eq!(paid, 0, "paid by instruction {}", data[0]),
        }
    }
    // There is nothing to apply here.
    assert!(accepted[..9].iter().all(|n| *n > 150), "{accepted:?} were accepted: too few test nothing");
}
