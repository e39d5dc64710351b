// SPDX-License-Identifier: Apache-2.0
//! A market's configuration: its limits, its time lock, and what leases take from it.

mod world;

use bourse::config::{self, Terms as Market};
use bourse::error::Error;
use bourse::fees::Fees;
use bourse::host::State;
use bourse::{system, token};
use world::*;

/// Other terms than those that hold.
fn other() -> Market {
    Market { treasury: [40; 32], arbiter: [41; 32], max_buyer_fee: 999, ..market() }
}

/// What the configuration says.
fn seen(world: &World) -> (i64, Vec<u8>, Vec<u8>) {
    let data = &world.config.data;
    let change_at = i64::from_le_bytes(data[72..80].try_into().unwrap());
    (change_at, data[88..180].to_vec(), data[180..].to_vec())
}

#[test]
fn the_account_is_laid_out_as_documented() {
    let mut world = World::new();
    let mut want = b"bourse2\x10".to_vec();
    want.extend(AUTHORITY);
    want.extend(IO);
    want.extend(0i64.to_le_bytes());
    want.extend(7_200u32.to_le_bytes());
    want.extend([8, 255, 2, 0]);
    want.extend(market_bytes(&market()));
    want.extend(market_bytes(&market()));
    assert_eq!(world.config.data, want);
    assert_eq!((world.config.owner, world.config.lamports), (world.runtime.program, system::rent(272)));

    assert_eq!(world.propose(&other()), 0);
    want[72..80].copy_from_slice(&8_200i64.to_le_bytes());
    want[180..].copy_from_slice(&market_bytes(&other()));
    assert_eq!(world.config.data, want);
}

/// Each field has its own place: one that is changed alone changes only its bytes.
#[test]
fn terms_are_laid_out_as_documented() {
    for (at, len, change) in [
        (0, 32, (|m| m.treasury = [0xee; 32]) as fn(&mut Market)),
        (32, 32, |m| m.arbiter = [0xee; 32]),
        (64, 2, |m| m.max_buyer_fee = 0x0201),
        (66, 2, |m| m.max_supplier_fee = 0x0201),
        (68, 2, |m| m.max_arbiter_cap = 0x0201),
        (70, 2, |m| m.max_slash = 0x0201),
        (72, 2, |m| m.max_delegation = 0x0201),
        (76, 4, |m| m.min_dispute_delay = 0x0002_0100),
        (80, 4, |m| m.slash_window = 0x0002_0101),
        (84, 4, |m| m.slash_hold = 0x0002_0102),
        (88, 4, |m| m.cooldown = 0x0002_0103),
    ] {
        let mut terms = market();
        change(&mut terms);
        let world = World::of(&terms);
        let (_, current, _) = seen(&world);
        let plain = market_bytes(&market());
        assert_ne!(current[at..at + len], plain[at..at + len], "{at}");
        assert_eq!(current[..at], plain[..at], "{at}");
        assert_eq!(current[at + len..], plain[at + len..], "{at}");
        let parsed = bourse::abi::parse::<Market>(&current).unwrap();
        assert_eq!(parsed, terms);
    }
}

/// A change of good terms, and how it is refused.
type Limit = (&'static str, fn(&mut Market), Option<Error>);

/// Limits of a market's terms, at the edge and one beyond.
const LIMITS: [Limit; 26] = [
    ("no treasury", |m| m.treasury = [0; 32], Some(Error::PARTY)),
    ("no arbiter", |m| m.arbiter = [0; 32], Some(Error::PARTY)),
    ("no arbitration", |m| (m.arbiter, m.max_arbiter_cap) = ([0; 32], 0), None),
    ("buyer's fee", |m| m.max_buyer_fee = 1_001, Some(Error::AMOUNT)),
    ("supplier's fee", |m| m.max_supplier_fee = 1_001, Some(Error::AMOUNT)),
    ("arbiter's cap", |m| m.max_arbiter_cap = 5_001, Some(Error::AMOUNT)),
    ("slash", |m| m.max_slash = 10_001, Some(Error::AMOUNT)),
    ("all may be slashed", |m| m.max_slash = 10_000, None),
    ("delegation", |m| m.max_delegation = 10_001, Some(Error::AMOUNT)),
    ("no delegation", |m| m.max_delegation = 0, None),
    ("reserved", |m| m.reserved = 1, Some(Error::AMOUNT)),
    ("dispute delay", |m| m.min_dispute_delay = 2_592_001, Some(Error::TIME)),
    ("longest dispute delay", |m| m.min_dispute_delay = 2_592_000, None),
    ("any dispute delay", |m| m.min_dispute_delay = 0, None),
    ("slash window", |m| m.slash_window = 2_592_001, Some(Error::TIME)),
    ("longest slash window", |m| m.slash_window = 2_592_000, None),
    ("slash hold", |m| m.slash_hold = 2_592_001, Some(Error::TIME)),
    ("longest slash hold", |m| m.slash_hold = 2_592_000, None),
    ("slash window of less than an hour", |m| m.slash_window = 3_599, Some(Error::TIME)),
    ("shortest slash window", |m| m.slash_window = 3_600, None),
    ("slash hold of less than an hour", |m| m.slash_hold = 3_599, Some(Error::TIME)),
    ("shortest slash hold", |m| m.slash_hold = 3_600, None),
    ("no slashes", |m| (m.max_slash, m.slash_window, m.slash_hold) = (0, 0, 0), None),
    ("cooldown", |m| m.cooldown = 7_776_001, Some(Error::TIME)),
    ("longest cooldown", |m| m.cooldown = 7_776_000, None),
    ("nothing at all", |m| (m.max_buyer_fee, m.max_supplier_fee, m.max_slash) = (0, 0, 0), None),
];

#[test]
fn terms_have_limits() {
    for (what, change, want) in LIMITS {
        let mut terms = market();
        change(&mut terms);
        let want = want.map_or(0, Error::code);
        assert_eq!(World::empty().create(LOCK, &terms), want, "create: {what}");
        assert_eq!(World::new().propose(&terms), want, "propose: {what}");
    }
}

#[test]
fn the_time_lock_has_limits() {
    for (lock, want) in
        [(3_599, 106), (3_600, 0), (31_536_000, 0), (31_536_001, 106), (0, 106), (u32::MAX, 106)]
    {
        assert_eq!(World::empty().create(lock, &market()), want, "{lock}");
    }
}

#[test]
fn create_survives_lamports_at_its_address() {
    for lamports in [1, 890_880, 1 << 30] {
        let mut world = World::empty();
        world.config.lamports = lamports;
        assert_eq!(world.create(LOCK, &market()), 0);
        assert_eq!(world.config.lamports, lamports.max(system::rent(config::SIZE)));
    }
}

#[test]
fn create_refuses_bad_accounts() {
    let world = World::empty();
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.create_accounts();
        change(&mut accounts);
        refused(&world, accounts, &create_data(LOCK, &market(), 255), want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    // Somebody else for the authority's address, or with an own authority.
    with(Error::PDA, &|a| a[0] = State::wallet(STRANGER, 1 << 40).write().sign());
    with(Error::PDA, &|a| a[1].key = [99; 32]);
    with(Error::STATE, &|a| a[1].owner = world.runtime.program);
    with(Error::STATE, &|a| a[1].data = vec![0; 8]);
    with(Error::MINT, &|a| a[2].owner = system::ID);
    with(Error::MINT, &|a| a[2].data[45] = 0);
    with(Error::MINT, &|a| a[2].data.push(0));
    with(Error::MINT, &|a| a[2] = State::tokens(IO, &MINT, &BUYER, 1));
    with(Error::MINT, &|a| a[2].data.clear());
    with(Error::ARGUMENT, &|a| a[3].key = token::ID);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
}

#[test]
fn create_refuses_another_bump_and_a_second_time() {
    let mut world = World::empty();
    let data = create_data(LOCK, &market(), 254);
    refused(&world, world.create_accounts(), &data, Error::PDA);
    let mut accounts = world.create_accounts();
    accounts[1].key = world.runtime.derive(&[b"config", &AUTHORITY], 254);
    refused(&world, accounts, &data, Error::PDA);

    assert_eq!(world.create(LOCK, &market()), 0);
    let again = create_data(LOCK, &other(), 255);
    refused(&world, world.create_accounts(), &again, Error::STATE);
}

#[test]
fn a_change_waits_for_the_time_lock() {
    let mut world = World::new();
    assert_eq!(world.apply(), Error::STATE.code());
    assert_eq!(world.propose(&other()), 0);
    let after = START + LOCK as i64;
    for now in [START, after - 1, i64::MIN] {
        world.runtime.now = now;
        assert_eq!(world.apply(), Error::TIME.code(), "{now}");
        assert_eq!(seen(&world), (after, market_bytes(&market()), market_bytes(&other())));
    }
    world.runtime.now = after;
    assert_eq!(world.apply(), 0);
    assert_eq!(seen(&world), (0, market_bytes(&other()), market_bytes(&other())));
    assert_eq!(world.apply(), Error::STATE.code());
}

#[test]
fn another_proposal_restarts_the_clock_and_the_current_terms_cancel() {
    let mut world = World::new();
    assert_eq!(world.propose(&other()), 0);
    world.runtime.now = START + LOCK as i64;
    let third = Market { max_slash: 7, ..other() };
    assert_eq!(world.propose(&third), 0);
    assert_eq!(world.apply(), Error::TIME.code());
    assert_eq!(seen(&world), (START + 2 * LOCK as i64, market_bytes(&market()), market_bytes(&third)));

    world.runtime.now = START + 3 * LOCK as i64;
    assert_eq!(world.propose(&market()), 0);
    assert_eq!(seen(&world), (0, market_bytes(&market()), market_bytes(&market())));
    assert_eq!(world.apply(), Error::STATE.code());
}

/// One bit of difference is a change, wherever it is.
#[test]
fn terms_that_differ_anywhere_do_not_cancel() {
    let plain = market_bytes(&market());
    for at in (0..92).filter(|at| !(74..76).contains(at)) {
        let mut world = World::new();
        let mut data = vec![8];
        data.extend(&plain);
        data[1 + at] ^= 1;
        let accounts = world.propose_accounts();
        match world.run(accounts, &data) {
            0 => assert_eq!(seen(&world).0, START + LOCK as i64, "{at}"),
            code => assert!([Error::AMOUNT.code(), Error::TIME.code()].contains(&code), "{at}: {code}"),
        }
    }
}

#[test]
fn only_the_authority_proposes() {
    let mut world = World::new();
    let data = propose_data(&other());
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.propose_accounts();
        change(&mut accounts);
        refused(&world, accounts, &data, want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::SIGNER, &|a| a[0] = State::wallet(STRANGER, 1).sign());
    with(Error::SIGNER, &|a| a[0] = State::wallet(ARBITER, 1).sign());
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::STATE, &|a| a[1].data[0] ^= 1);
    with(Error::STATE, &|a| a[1].data[86] = 1);
    with(Error::STATE, &|a| a[1].data.push(0));
    with(Error::STATE, &|a| a[1].writable = false);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
    assert_eq!(world.propose(&other()), 0);
    world.runtime.now += LOCK as i64;
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = vec![world.config.clone()];
        change(&mut accounts);
        refused(&world, accounts, &[9], want);
    };
    with(Error::OWNER, &|a| a[0].owner = system::ID);
    with(Error::STATE, &|a| a[0].writable = false);
    with(Error::STATE, &|a| a[0].data[7] = 1);
}

#[test]
fn malformed_instructions_are_refused() {
    let world = World::new();
    let whole = create_data(LOCK, &market(), 255);
    for len in 1..whole.len() {
        refused(&world, world.create_accounts(), &whole[..len], Error::ARGUMENT);
    }
    let whole = propose_data(&market());
    for len in 1..whole.len() {
        refused(&world, world.propose_accounts(), &whole[..len], Error::ARGUMENT);
    }
    for mut data in [create_data(LOCK, &market(), 255), propose_data(&market())] {
        data.push(0);
        refused(&world, world.create_accounts(), &data, Error::ARGUMENT);
        refused(&world, world.propose_accounts(), &data, Error::ARGUMENT);
    }
    refused(&world, vec![world.config.clone()], &[9, 0], Error::ARGUMENT);
    refused(&world, vec![], &[9], Error::ARGUMENT);
    refused(&world, vec![world.config.clone(); 2], &[9], Error::ARGUMENT);
}

#[test]
fn a_lease_may_not_ask_more_than_the_market_allows() {
    let caps = Market { max_buyer_fee: 225, max_supplier_fee: 25, max_arbiter_cap: 2_000, ..market() };
    let with = |caps: Market, terms: &Terms| World::of(&caps).open(terms);
    assert_eq!(with(caps, &terms()), 0);
    for (what, terms) in [
        ("buyer's fee", Terms { fees: Fees { buyer: 226, ..FEES }, ..terms() }),
        ("supplier's fee", Terms { fees: Fees { supplier: 26, ..FEES }, ..terms() }),
        ("arbiter's cap", Terms { arbiter_cap: 2_001, ..terms() }),
    ] {
        assert_eq!(with(caps, &terms), Error::CAP.code(), "{what}");
    }
    let none = Market { max_arbiter_cap: 0, arbiter: [0; 32], ..caps };
    assert_eq!(with(none, &plain_terms()), 0);
    // Without arbitration in the market a lease cannot have it, whoever is named.
    assert_eq!(with(none, &terms()), Error::PARTY.code());
    assert_eq!(with(Market { max_arbiter_cap: 0, ..caps }, &terms()), Error::CAP.code());
    assert_eq!(with(Market { min_dispute_delay: 0, ..caps }, &Terms { dispute_delay: 1, ..terms() }), 0);
    let never = Terms { dispute_delay: 0, ..terms() };
    assert_eq!(with(Market { min_dispute_delay: 0, ..caps }, &never), Error::TIME.code());
}

/// The buyer's transaction names treasury and arbiter. A change that is applied just before it makes it fail;
/// it cannot make it mean something else.
#[test]
fn a_change_in_front_of_an_opening_stops_it() {
    for (terms, change) in [
        (terms(), Market { treasury: [40; 32], ..market() }),
        (terms(), Market { arbiter: [41; 32], ..market() }),
        (plain_terms(), Market { treasury: [40; 32], ..market() }),
    ] {
        let mut world = World::new();
        assert_eq!(world.propose(&change), 0);
        world.runtime.now += LOCK as i64;
        let terms = Terms { deadline: world.runtime.now + 1_000, ..terms };
        // Pending terms do not hold yet, even if they could.
        assert_eq!(world.clone().open(&terms), 0);
        assert_eq!(world.apply(), 0);
        assert_eq!(world.open(&terms), Error::PARTY.code());
    }
}

#[test]
fn a_lease_keeps_its_terms_whatever_the_market_does() {
    let mut world = World::new();
    let long = Terms { deadline: START + 20_000, ..terms() };
    assert_eq!(world.open(&long), 0);
    let lease = world.lease.clone();
    let harsh = Market { max_arbiter_cap: 0, max_buyer_fee: 0, min_dispute_delay: 2_592_000, ..other() };
    assert_eq!(world.propose(&harsh), 0);
    world.runtime.now += LOCK as i64;
    assert_eq!(world.apply(), 0);
    assert_eq!(world.lease, lease);
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    assert_eq!(world.dispute(SUPPLIER, 2_000), 0);
    world.runtime.now += 100;
    assert_eq!(world.award([41; 32], 2_000), Error::SIGNER.code());
    assert_eq!(world.award(ARBITER, 2_000), 0);
    assert_eq!(world.treasury_tokens.amount(), 30);
}

#[test]
fn a_market_of_another_program_counts_for_nothing() {
    let world = World::new();
    let mut accounts = world.open_accounts();
    accounts[8].owner = [98; 32];
    refused(&world, accounts, &terms().data(), Error::OWNER);
    // Nor does any other account of this program.
    let mut opened = World::opened();
    let id = [10; 32];
    let lease = opened.lease.clone();
    let key = opened.runtime.find(&[b"lease", &BUYER, &id]).0;
    opened.lease = State::wallet(key, 0).write();
    opened.vault = State::wallet(opened.runtime.find(&[b"vault", &key]).0, 0).write();
    let mut accounts = opened.open_accounts();
    accounts[8] = lease;
    refused(&opened, accounts, &Terms { id, ..terms() }.data(), Error::STATE);
    assert_eq!(opened.open(&Terms { id, ..terms() }), 0);
}
