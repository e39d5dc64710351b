// SPDX-License-Identifier: Apache-2.0
//! The life of a lease, and every way in which an instruction is refused.

mod world;

use bourse::abi::Key;
use bourse::error::Error;
use bourse::fees::Fees;
use bourse::host::State;
use bourse::{lease, system, token, voucher};
use world::*;

#[test]
fn a_lease_lives_and_ends() {
    let mut world = World::new();
    assert_eq!(world.open(&terms()), 0);
    assert_eq!((world.vault.amount(), world.buyer_tokens.amount()), (10_000, 990_000));
    assert_eq!(world.lease.lamports, system::rent(lease::SIZE));

    // 1000: buyer's fee 22, supplier's 2, of 24 burned 9.
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    assert_eq!((world.supplier_tokens.amount(), world.treasury_tokens.amount()), (998, 15));
    assert_eq!((world.vault.amount(), world.mint.supply()), (10_000 - 1_022, WEALTH - 9));
    // 3000: fees 67 and 7, of 74 burned 29.
    assert_eq!(world.claim(STRANGER, 3_000), 0);
    assert_eq!((world.supplier_tokens.amount(), world.treasury_tokens.amount()), (2_993, 45));
    assert_eq!((world.vault.amount(), world.mint.supply()), (10_000 - 3_067, WEALTH - 29));

    let lamports = world.buyer.lamports;
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(world.buyer_tokens.amount(), WEALTH - 3_067);
    assert_eq!(world.buyer.lamports, lamports + system::rent(token::ACCOUNT_SIZE));
    assert_eq!((world.vault.owner, world.vault.lamports), (system::ID, 0));
    assert_eq!(magic(&world.lease), lease::CLOSED);
    assert_eq!(world.tokens(), world.mint.supply());

    // The tombstone: nothing can be done with the lease or its id again.
    assert_eq!(world.claim(SUPPLIER, 5_000), Error::STATE.code());
    assert_eq!(world.close(SUPPLIER), Error::STATE.code());
    assert_eq!(world.open(&terms()), Error::STATE.code());
}

#[test]
fn the_account_is_laid_out_as_documented() {
    let world = World::opened();
    let data = &world.lease.data;
    let mut want = b"bourse2\x01".to_vec();
    for key in [BUYER, SUPPLIER, ARBITER, TREASURY, MINT, terms().id] {
        want.extend(key);
    }
    want.extend(10_000u64.to_le_bytes());
    want.extend(0u64.to_le_bytes());
    want.extend(2_000i64.to_le_bytes());
    for bps in [225u16, 25, 4_000] {
        want.extend(bps.to_le_bytes());
    }
    want.extend([DECIMALS, 255, 255, 2]);
    want.extend(2_000u16.to_le_bytes());
    want.extend(100u32.to_le_bytes());
    want.resize(256, 0);
    assert_eq!(*data, want);

    let mut world = world;
    assert_eq!(world.claim(SUPPLIER, 77), 0);
    want[208] = 77;
    assert_eq!(world.lease.data, want);
    world.runtime.now = 1_234;
    assert_eq!(world.dispute(SUPPLIER, 99), 0);
    want[240..248].copy_from_slice(&1_234i64.to_le_bytes());
    want[248] = 99;
    assert_eq!(world.lease.data, want);
    world.runtime.now = 1_334;
    assert_eq!(world.award(ARBITER, 88), 0);
    (want[208], want[248]) = (88, 0);
    assert_eq!(world.lease.data, want);
    assert_eq!(world.close(SUPPLIER), 0);
    want[7] = 2;
    assert_eq!(world.lease.data, want);

    let mut world = World::new();
    assert_eq!(world.open(&plain_terms()), 0);
    assert_eq!(world.lease.data[72..104], [0; 32]);
    assert_eq!(world.lease.data[234..], [0; 22]);
}

#[test]
fn open_survives_lamports_at_its_addresses() {
    for lamports in [1, 890_880, 1 << 30] {
        let mut world = World::new();
        world.lease.lamports = lamports;
        world.vault.lamports = lamports;
        assert_eq!(world.open(&terms()), 0);
        assert_eq!(world.lease.lamports, lamports.max(system::rent(lease::SIZE)));
        assert_eq!(world.close(SUPPLIER), 0);
    }
}

#[test]
fn open_refuses_bad_terms() {
    let with = |change: fn(&mut Terms)| {
        let mut terms = terms();
        change(&mut terms);
        World::new().open(&terms)
    };
    assert_eq!(with(|_| ()), 0);
    assert_eq!(with(|t| t.deadline = START + lease::MAX_TERM), 0);
    assert_eq!(with(|t| (t.arbiter_cap, t.dispute_delay) = (5_000, 2_592_000)), 0);
    assert_eq!(with(|t| t.dispute_delay = 50), 0);
    for (what, change, want) in [
        ("no deposit", (|t| t.deposit = 0) as fn(&mut Terms), Error::AMOUNT),
        ("buyer's fee", |t| t.fees = Fees { buyer: 1_001, ..FEES }, Error::AMOUNT),
        ("supplier's fee", |t| t.fees = Fees { supplier: 1_001, ..FEES }, Error::AMOUNT),
        ("burn", |t| t.fees = Fees { burn: 10_001, ..FEES }, Error::AMOUNT),
        ("deadline now", |t| t.deadline = 1_000, Error::TIME),
        ("deadline before time", |t| t.deadline = i64::MIN, Error::TIME),
        ("deadline too far", |t| t.deadline = START + lease::MAX_TERM + 1, Error::TIME),
        ("deadline in milliseconds", |t| t.deadline = 1_770_000_000_000, Error::TIME),
        ("deadline after time", |t| t.deadline = i64::MAX, Error::TIME),
        ("arbiter's cap", |t| t.arbiter_cap = 5_001, Error::CAP),
        ("no delay", |t| t.dispute_delay = 0, Error::TIME),
        ("delay below the market's", |t| t.dispute_delay = 49, Error::TIME),
        ("delay over 30 days", |t| t.dispute_delay = 2_592_001, Error::TIME),
        ("delay without arbitration", |t| t.arbiter_cap = 0, Error::TIME),
        ("another bump", |t| t.bump = 254, Error::PDA),
        ("another vault bump", |t| t.vault_bump = 254, Error::PDA),
        ("another id", |t| t.id = [10; 32], Error::PDA),
        ("decimals", |t| t.decimals = 9, Error::MINT),
    ] {
        assert_eq!(with(change), want.code(), "{what}");
    }
    // More than the buyer has is the Token program's to refuse.
    assert_eq!(with(|t| t.deposit = WEALTH + 1), 1);
}

#[test]
fn open_refuses_bad_accounts() {
    let world = World::new();
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.open_accounts();
        change(&mut accounts);
        refused(&world, accounts, &terms().data(), want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::PDA, &|a| a[1].key = [99; 32]);
    with(Error::PDA, &|a| a[2].key = [99; 32]);
    with(Error::MINT, &|a| a[3].owner = system::ID);
    with(Error::MINT, &|a| a[3].data[45] = 0);
    with(Error::MINT, &|a| a[3].data.push(0));
    with(Error::MINT, &|a| a[3] = State::tokens(MINT, &MINT, &BUYER, 1));
    with(Error::PARTY, &|a| a[6].key = STRANGER);
    with(Error::PARTY, &|a| a[7].key = STRANGER);
    with(Error::PARTY, &|a| a[7].key = [0; 32]);
    with(Error::OWNER, &|a| a[8].owner = system::ID);
    with(Error::STATE, &|a| a[8].data[0] ^= 1);
    with(Error::STATE, &|a| a[8].data[86] = 1);
    with(Error::STATE, &|a| a[8].data.push(0));
    with(Error::ARGUMENT, &|a| a[9].key = [99; 32]);
    with(Error::ARGUMENT, &|a| a[10].key = [99; 32]);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
    with(Error::STATE, &|a| a[1].owner = world.runtime.program);
    with(Error::STATE, &|a| a[1].data = vec![0; 8]);
}

#[test]
fn open_refuses_an_address_with_another_bump() {
    // Derived rightly, but not canonical: a second lease for the same id.
    let world = World::new();
    let other = world.runtime.derive(&[b"lease", &BUYER, &terms().id], 254);
    let vault = world.runtime.find(&[b"vault", &other]).0;
    let mut accounts = world.open_accounts();
    accounts[1].key = other;
    accounts[2].key = vault;
    refused(&world, accounts, &Terms { bump: 254, ..terms() }.data(), Error::PDA);

    let mut accounts = world.open_accounts();
    accounts[2].key = world.runtime.derive(&[b"vault", &world.lease.key], 254);
    refused(&world, accounts, &Terms { vault_bump: 254, ..terms() }.data(), Error::PDA);
}

#[test]
fn claim_refuses_bad_amounts() {
    let mut world = World::opened();
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    for gross in [0, 1, 999, 1_000] {
        assert_eq!(world.claim(SUPPLIER, gross), Error::AMOUNT.code(), "{gross}");
    }
    // 9780 and its fee of 220 are the deposit exactly; one more is too much, although less than the deposit.
    for gross in [9_781, 9_999, 10_000, 10_001, u64::MAX / 2, u64::MAX] {
        assert_eq!(world.claim(SUPPLIER, gross), Error::AMOUNT.code(), "{gross}");
    }
    assert_eq!(world.claim(SUPPLIER, 9_780), 0);
    assert_eq!(world.vault.amount(), 0);
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(world.tokens(), world.mint.supply());
}

#[test]
fn claim_refuses_bad_accounts() {
    let world = World::opened();
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.claim_accounts(SUPPLIER, world.proof(1_000));
        change(&mut accounts);
        refused(&world, accounts, &claim_data(1_000), want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::OWNER, &|a| a[1].owner = [99; 32]);
    with(Error::STATE, &|a| a[1].data[0] ^= 1);
    with(Error::STATE, &|a| a[1].data[233] = 1);
    with(Error::STATE, &|a| a[1].data.push(0));
    with(Error::STATE, &|a| a[1] = world.config.clone());
    with(Error::STATE, &|a| a[1].writable = false);
    with(Error::PDA, &|a| a[2].key = [99; 32]);
    with(Error::PDA, &|a| a[2] = world.buyer_tokens.clone());
    with(Error::MINT, &|a| a[3] = State::mint([21; 32], 1, DECIMALS));
    with(Error::PARTY, &|a| a[4] = world.stranger_tokens.clone());
    with(Error::PARTY, &|a| a[4] = world.treasury_tokens.clone());
    with(Error::PARTY, &|a| a[4] = State::tokens([12; 32], &[21; 32], &SUPPLIER, 0).write());
    with(Error::PARTY, &|a| a[4].owner = [99; 32]);
    with(Error::PARTY, &|a| a[4].data.push(0));
    with(Error::PARTY, &|a| a[5] = world.stranger_tokens.clone());
    with(Error::PARTY, &|a| a[5] = world.supplier_tokens.clone());
    with(Error::VOUCHER, &|a| a[6].key = [99; 32]);
    with(Error::ARGUMENT, &|a| a[7].key = [99; 32]);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
    with(Error::ARGUMENT, &|a| a.push(State::wallet(STRANGER, 1)));
}

#[test]
fn claim_needs_a_voucher_of_the_buyer_for_this() {
    let world = World::opened();
    let program = world.runtime.program;
    let with = |sysvar: State| {
        refused(&world, world.claim_accounts(SUPPLIER, sysvar), &claim_data(1_000), Error::VOUCHER);
    };
    with(world.proof(999));
    with(world.proof(1_001));
    with(proof(ed25519(&SUPPLIER, &world.message(1_000))));
    with(proof(ed25519(&BUYER, &message(&program, &[99; 32], 1_000))));
    with(proof(ed25519(&BUYER, &message(&[99; 32], &world.lease.key, 1_000))));
    let mut tag = world.message(1_000);
    tag[6] = b'1';
    with(proof(ed25519(&BUYER, &tag)));
    let mut long = world.message(1_000);
    long.push(0);
    with(proof(ed25519(&BUYER, &long)));
    with(proof(ed25519(&BUYER, &world.message(1_000)[..78])));
}

/// Each byte of the head says where the Ed25519 program looks. A change of any of them could make it check
/// other bytes than the ones that the lease program reads.
#[test]
fn claim_needs_the_exact_head() {
    let world = World::opened();
    let good = ed25519(&BUYER, &world.message(1_000));
    for at in 0..16 {
        for change in [1, 0x80, 0xff] {
            let mut check = good.clone();
            check[at] ^= change;
            let accounts = world.claim_accounts(SUPPLIER, proof(check));
            refused(&world, accounts, &claim_data(1_000), Error::VOUCHER);
        }
    }
    // The length of the instruction's data counts as well.
    let mut longer = good.clone();
    longer.push(0);
    refused(&world, world.claim_accounts(SUPPLIER, proof(longer)), &claim_data(1_000), Error::VOUCHER);
}

#[test]
fn claim_needs_the_check_right_before_it() {
    let world = World::opened();
    let check = (voucher::ED25519, ed25519(&BUYER, &world.message(1_000)));
    let other = ([55; 32], vec![1, 2, 3]);
    let own = (world.runtime.program, vec![1]);
    let with = |list: &[(Key, Vec<u8>)], current, want: u64| {
        let mut world = world.clone();
        let sysvar = State::instructions(list, current);
        assert_eq!(world.claim_with(SUPPLIER, 1_000, sysvar), want);
    };
    let no = Error::VOUCHER.code();
    with(&[check.clone(), own.clone()], 1, 0);
    with(&[other.clone(), check.clone(), own.clone(), other.clone()], 2, 0);
    with(std::slice::from_ref(&own), 0, no);
    with(&[own.clone(), check.clone()], 0, no);
    with(&[check.clone(), other, own.clone()], 2, no);
    with(&[check.clone(), own.clone(), own.clone()], 2, no);
    with(&[([55; 32], check.1), own], 1, no);
}

/// The first instruction has none before it. Where the offset of one would be is the number of instructions, which
/// the sender of a transaction chooses: it must not be taken for the place of a check that nobody made.
#[test]
fn the_first_instruction_is_refused_whatever_the_sysvar_holds() {
    let world = World::opened();
    let check = ed25519(&BUYER, &world.message(1_000));
    let mut data = 6u16.to_le_bytes().to_vec();
    data.extend([0; 4]);
    data.extend([0, 0]);
    data.extend(voucher::ED25519);
    data.extend((check.len() as u16).to_le_bytes());
    data.extend(check);
    data.extend(0u16.to_le_bytes());
    let mut sysvar = world.proof(1_000);
    sysvar.data = data;
    refused(&world, world.claim_accounts(SUPPLIER, sysvar), &claim_data(1_000), Error::VOUCHER);
}

#[test]
fn claim_reads_no_further_than_the_sysvar() {
    let world = World::opened();
    let whole = world.proof(1_000);
    for len in 0..whole.data.len() {
        for current in [0u16, 1, 2, 0x7fff, 0xffff] {
            let mut sysvar = whole.clone();
            sysvar.data.truncate(len);
            sysvar.data.extend(current.to_le_bytes());
            let mut accounts = world.claim_accounts(SUPPLIER, sysvar);
            let code = world.runtime.run(&mut accounts, &claim_data(1_000));
            // Long enough for the check itself is long enough.
            let complete = len >= 6 + 36 + 191 && current == 1;
            assert_eq!(code, if complete { 0 } else { Error::VOUCHER.code() }, "{len} {current}");
        }
    }
}

#[test]
fn a_frozen_account_stops_a_claim_as_a_whole() {
    let mut world = World::opened();
    for frozen in [0, 1, 2] {
        let mut accounts = world.claim_accounts(SUPPLIER, world.proof(1_000));
        accounts[[2, 4, 5][frozen]].data[108] = 2;
        let before = accounts.clone();
        assert_eq!(world.runtime.run(&mut accounts, &claim_data(1_000)), 17);
        assert_eq!(accounts, before);
    }
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
}

#[test]
fn without_a_burn_the_mint_may_be_read_only() {
    let mut world = World::new();
    assert_eq!(world.open(&Terms { fees: Fees { burn: 0, ..FEES }, ..plain_terms() }), 0);
    world.mint.writable = false;
    assert_eq!(world.claim(SUPPLIER, 1_000), 0);
    assert_eq!((world.treasury_tokens.amount(), world.mint.supply()), (24, WEALTH));
}

#[test]
fn close_waits_for_the_deadline_unless_the_supplier_asks() {
    for submitter in [BUYER, STRANGER, TREASURY] {
        let mut world = World::opened();
        for now in [1_000, 1_999, 2_000] {
            world.runtime.now = now;
            assert_eq!(world.close(submitter), Error::TIME.code());
        }
        world.runtime.now = 2_001;
        assert_eq!(world.close(submitter), 0);
        assert_eq!(world.buyer_tokens.amount(), WEALTH);
    }
    assert_eq!(World::opened().close(SUPPLIER), 0);
}

#[test]
fn close_refuses_bad_accounts() {
    let world = World::opened();
    let with = |want: Error, change: &dyn Fn(&mut Vec<State>)| {
        let mut accounts = world.close_accounts(SUPPLIER);
        change(&mut accounts);
        refused(&world, accounts, &[2], want);
    };
    with(Error::SIGNER, &|a| a[0].signer = false);
    with(Error::OWNER, &|a| a[1].owner = system::ID);
    with(Error::STATE, &|a| a[1].data[0] ^= 1);
    with(Error::STATE, &|a| a[1].writable = false);
    with(Error::PDA, &|a| a[2].key = [99; 32]);
    with(Error::PDA, &|a| a[2] = world.buyer_tokens.clone());
    with(Error::MINT, &|a| a[3] = State::mint([21; 32], 1, DECIMALS));
    with(Error::PARTY, &|a| a[4] = world.supplier_tokens.clone());
    with(Error::PARTY, &|a| a[4].owner = [99; 32]);
    with(Error::PARTY, &|a| a[5] = State::wallet(STRANGER, 5).write());
    with(Error::ARGUMENT, &|a| a[6].key = [99; 32]);
    with(Error::ARGUMENT, &|a| drop(a.pop()));
}

#[test]
fn dust_in_the_vault_goes_to_the_buyer() {
    let mut world = World::opened();
    let dust = 12_345u64;
    let amount = world.vault.amount() + dust;
    world.vault.data[64..72].copy_from_slice(&amount.to_le_bytes());
    assert_eq!(world.close(SUPPLIER), 0);
    assert_eq!(world.buyer_tokens.amount(), WEALTH + dust);
}

#[test]
fn one_lease_cannot_touch_the_vault_of_another() {
    let mut first = World::opened();
    let id = [10; 32];
    let mut second = first.clone();
    let key = first.runtime.find(&[b"lease", &BUYER, &id]).0;
    second.lease = State::wallet(key, 0).write();
    second.vault = State::wallet(first.runtime.find(&[b"vault", &key]).0, 0).write();
    assert_eq!(second.open(&Terms { id, ..terms() }), 0);

    first.vault = second.vault.clone();
    assert_eq!(first.claim(SUPPLIER, 1_000), Error::PDA.code());
    assert_eq!(first.close(SUPPLIER), Error::PDA.code());
    // A voucher for one lease does not pay from the other.
    let other = first.proof(1_000);
    assert_eq!(second.claim_with(SUPPLIER, 1_000, other), Error::VOUCHER.code());
}

#[test]
fn unknown_instructions_are_refused() {
    let world = World::opened();
    let accounts = world.close_accounts(SUPPLIER);
    for data in
        [&[][..], &[3], &[255], &[2, 0], &[1], &[1, 0, 0, 0, 0, 0, 0, 0], &[1; 10], &[0], &[0; 63], &[0; 65]]
    {
        refused(&world, accounts.clone(), data, Error::ARGUMENT);
    }
    let crowd: Vec<State> = (0..17).map(|i| State::wallet([i; 32], 1)).collect();
    refused(&world, crowd, &[2], Error::ARGUMENT);
}

#[test]
fn an_account_cannot_be_the_copy_of_a_later_one() {
    for first in [0u64, 1, 0xfe] {
        // One account, which is said to be a copy; no data; the program's address.
        let mut words = [0u64; 8];
        (words[0], words[1]) = (1, first);
        let seen = unsafe { bourse::abi::with_input(words.as_mut_ptr() as *mut u8, |_, _, _| Ok(())) };
        assert_eq!(seen, Err(Error::ARGUMENT));
    }
}
