// SPDX-License-Identifier: Apache-2.0
//! Random sequences against a small model, and garbage.

mod world;

use bourse::abi::Key;
use bourse::error::Error;
use bourse::fees::Fees;
use bourse::host::State;
use bourse::{lease, system, token};
use world::*;

/// What the model knows about a lease.
struct Model {
    terms: Terms,
    now: i64,
    paid: u64,
    open: bool,
}

impl Model {
    fn shares(&self) -> (u64, u64, u64, u64) {
        let floor = |amount: u64, bps: u16| (amount as u128 * bps as u128 / 10_000) as u64;
        let (buyer, supplier) =
            (floor(self.paid, self.terms.fees.buyer), floor(self.paid, self.terms.fees.supplier));
        let burn = floor(buyer + supplier, self.terms.fees.burn);
        (self.paid + buyer, self.paid - supplier, buyer + supplier - burn, burn)
    }

    fn claim(&mut self, gross: u64, signer: Key) -> u64 {
        let before = self.paid;
        if !self.open {
            return Error::STATE.code();
        }
        if gross <= before {
            return Error::AMOUNT.code();
        }
        self.paid = gross;
        let refusal = match () {
            _ if self.shares().0 > self.terms.deposit => Error::AMOUNT.code(),
            _ if signer != BUYER => Error::VOUCHER.code(),
            _ => return 0,
        };
        self.paid = before;
        refusal
    }

    fn close(&mut self, submitter: Key) -> u64 {
        if !self.open {
            return Error::STATE.code();
        }
        if submitter != SUPPLIER && self.now <= self.terms.deadline {
            return Error::TIME.code();
        }
        self.open = false;
        0
    }

    /// Every balance follows from what was paid, in whatever steps.
    fn compare(&self, world: &World) {
        let (debit, supplier, treasury, burn) = self.shares();
        let rest = self.terms.deposit - debit;
        let (vault, refund) = if self.open { (rest, 0) } else { (0, rest) };
        assert_eq!(world.vault.amount(), vault);
        assert_eq!(world.buyer_tokens.amount(), WEALTH - self.terms.deposit + refund);
        assert_eq!(world.supplier_tokens.amount(), supplier);
        assert_eq!(world.treasury_tokens.amount(), treasury);
        assert_eq!(world.mint.supply(), WEALTH - burn);
        assert_eq!(world.tokens(), world.mint.supply());
        assert_eq!(magic(&world.lease), if self.open { lease::OPEN } else { lease::CLOSED });
    }
}

fn fees(random: &mut Random) -> Fees {
    Fees {
        buyer: random.below(1_001) as u16,
        supplier: random.below(1_001) as u16,
        burn: random.below(10_001) as u16,
    }
}

#[test]
fn random_sequences_agree_with_the_model() {
    let mut random = Random(42);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut terms = terms();
        terms.deposit = 1 + random.below(100_000);
        terms.deadline = 1_001 + random.below(50) as i64;
        terms.fees = fees(&mut random);
        let mut world = World::new();
        assert_eq!(world.open(&terms), 0);
        let mut model = Model { now: 1_000, paid: 0, open: true, terms };
        for _ in 0..12 {
            model.now += random.below(10) as i64;
            world.runtime.now = model.now;
            let submitter = random.of(&[BUYER, SUPPLIER, STRANGER]);
            let (got, want) = if random.below(5) == 0 {
                (world.close(submitter), model.close(submitter))
            } else {
                let most = model.terms.deposit + model.terms.deposit / 4 + 2;
                let limit = random.of(&[most, model.paid + most / 8]);
                let gross = random.below(limit);
                let signer = random.of(&[BUYER, BUYER, BUYER, SUPPLIER]);
                let sysvar = proof(ed25519(&signer, &world.message(gross)));
                (world.claim_with(submitter, gross, sysvar), model.claim(gross, signer))
            };
            assert_eq!(got, want);
            model.compare(&world);
            if want == 0 {
                done += 1
            } else {
                refused += 1
            }
        }
    }
    assert!(done > 5_000 && refused > 5_000, "{done} done, {refused} refused");
}

/// However an amount is collected, everybody gets the same.
#[test]
fn any_order_of_claims_pays_the_same_as_one() {
    let mut random = Random(43);
    for _ in 0..2_000 {
        let terms = Terms { deposit: 200_000, fees: fees(&mut random), ..terms() };
        let total = 1 + random.below(150_000);
        let mut once = World::new();
        let mut often = World::new();
        assert_eq!((once.open(&terms), often.open(&terms)), (0, 0));
        assert_eq!(once.claim(SUPPLIER, total), 0);
        // The vouchers arrive in any order; the ones that come too late are refused.
        let mut paid = 0;
        for _ in 0..random.below(12) {
            let gross = 1 + random.below(total);
            let want = if gross > paid { 0 } else { Error::AMOUNT.code() };
            assert_eq!(often.claim(STRANGER, gross), want);
            paid = paid.max(gross);
        }
        if paid < total {
            assert_eq!(often.claim(SUPPLIER, total), 0);
        }
        let balances = |world: &World| {
            [
                &world.vault,
                &world.buyer_tokens,
                &world.supplier_tokens,
                &world.treasury_tokens,
                &world.stranger_tokens,
            ]
            .map(State::amount)
        };
        assert_eq!(balances(&once), balances(&often));
        assert_eq!(once.mint.supply(), often.mint.supply());
        assert_eq!(once.lease.data, often.lease.data);
    }
}

/// Accounts in wrong places, damaged proofs, arbitrary data: refused without any change, or value is conserved,
/// nothing goes to a stranger and only what the deposit allows leaves the vault.
#[test]
fn garbage_is_refused_or_harmless() {
    let mut random = Random(7);
    let mut accepted = 0;
    for _ in 0..120_000 {
        let mut world = if random.below(4) == 0 { World::new() } else { World::opened() };
        world.runtime.now = random.of(&[1_500, 2_500]);
        let gross = random.below(12_000);
        let mut sysvar = world.proof(gross);
        for _ in 0..random.below(3) {
            let at = random.below(sysvar.data.len() as u64) as usize;
            sysvar.data[at] = random.word() as u8;
        }
        let mut accounts = match random.below(3) {
            0 => world.open_accounts(),
            1 => world.claim_accounts(random.of(&[SUPPLIER, STRANGER]), sysvar.clone()),
            _ => world.close_accounts(random.of(&[SUPPLIER, STRANGER, BUYER])),
        };
        let pool = [
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
        ];
        for _ in 0..random.below(3) {
            let at = random.below(accounts.len() as u64) as usize;
            accounts[at] = pool[random.below(pool.len() as u64) as usize].clone();
        }
        let mut data = match accounts.len() {
            9 => terms().data(),
            8 => claim_data(gross),
            _ => vec![2],
        };
        if random.below(3) == 0 {
            let at = random.below(data.len() as u64) as usize;
            data[at] = random.word() as u8;
        }
        if random.below(16) == 0 {
            data.truncate(random.below(data.len() as u64) as usize);
        }
        let before = accounts.clone();
        if world.runtime.run(&mut accounts, &data) != 0 {
            assert_eq!(before, accounts);
            continue;
        }
        accepted += 1;
        let (tokens, supply) = (world.tokens(), world.mint.supply());
        world.take(&accounts);
        assert_eq!(tokens - world.tokens(), supply - world.mint.supply(), "value conserved");
        assert_eq!(world.stranger_tokens.amount(), 0, "paid to a stranger");
        let paid = world.supplier_tokens.amount() + world.treasury_tokens.amount();
        assert!(paid == 0 || paid < gross + gross / 40 + 1, "paid {paid} for a voucher of {gross}");
    }
    assert!(accepted > 5_000, "only {accepted} were accepted: this tests nothing");
}
