// SPDX-License-Identifier: Apache-2.0
//! Random sequences against a small model: exact codes, exact balances, and what no sequence may bring about.

mod world;

use bourse::abi::Key;
use bourse::error::Error;
use bourse::fees::Fees;
use bourse::host::State;
use bourse::lease;
use world::*;

/// What the model knows about a lease.
struct Model {
    terms: Terms,
    now: i64,
    deposit: u64,
    deadline: i64,
    paid: u64,
    /// The most that was paid for a voucher of the buyer.
    vouched: u64,
    disputed_at: Option<i64>,
    disputed: Option<u64>,
    open: bool,
}

fn floor(amount: u64, bps: u16) -> u64 {
    (amount as u128 * bps as u128 / 10_000) as u64
}

impl Model {
    fn new(terms: Terms) -> Model {
        Model {
            now: START,
            deposit: terms.deposit,
            deadline: terms.deadline,
            paid: 0,
            vouched: 0,
            disputed_at: None,
            disputed: None,
            open: true,
            terms,
        }
    }

    fn debit(&self, gross: u64) -> u64 {
        gross + floor(gross, self.terms.fees.buyer)
    }

    /// What an award may cost.
    fn cap(&self) -> u64 {
        floor(self.deposit, self.terms.arbiter_cap)
    }

    /// When an award becomes possible and when the dispute is over.
    fn award_times(&self) -> (i64, i64) {
        let delay = self.terms.dispute_delay as i64;
        let at = self.disputed_at.unwrap();
        (at + delay, at + 2 * delay)
    }

    fn payable(&self, gross: u64) -> Result<(), Error> {
        let payable = gross > self.paid && self.debit(gross) <= self.deposit;
        payable.then_some(()).ok_or(Error::AMOUNT)
    }

    fn claim(&mut self, gross: u64, signer: Key) -> Result<(), Error> {
        self.payable(gross)?;
        (signer == BUYER).then_some(()).ok_or(Error::VOUCHER)?;
        (self.paid, self.vouched) = (gross, gross);
        Ok(())
    }

    fn close(&mut self, submitter: Key) -> Result<(), Error> {
        if submitter != SUPPLIER {
            if self.now <= self.deadline {
                return Err(Error::TIME);
            }
            if self.disputed.is_some() && self.now < self.award_times().1 {
                return Err(Error::HELD);
            }
        }
        self.open = false;
        Ok(())
    }

    fn top_up(&mut self, amount: u64) -> Result<(), Error> {
        (amount > 0).then_some(()).ok_or(Error::AMOUNT)?;
        self.deposit += amount;
        Ok(())
    }

    fn extend(&mut self, signer: Key, deadline: i64) -> Result<(), Error> {
        (signer == BUYER).then_some(()).ok_or(Error::SIGNER)?;
        let ahead = deadline > self.now && deadline > self.deadline;
        ahead.then_some(()).ok_or(Error::TIME)?;
        self.deadline = deadline;
        Ok(())
    }

    fn dispute(&mut self, signer: Key, gross: u64) -> Result<(), Error> {
        (signer == SUPPLIER).then_some(()).ok_or(Error::SIGNER)?;
        if self.terms.arbiter_cap == 0 || self.disputed_at.is_some() {
            return Err(Error::DISPUTE);
        }
        (self.now <= self.deadline).then_some(()).ok_or(Error::TIME)?;
        self.payable(gross)?;
        (self.disputed_at, self.disputed) = (Some(self.now), Some(gross));
        Ok(())
    }

    fn award(&mut self, signer: Key, gross: u64) -> Result<(), Error> {
        let arbiter = if self.terms.arbiter_cap > 0 { ARBITER } else { [0; 32] };
        (signer == arbiter).then_some(()).ok_or(Error::SIGNER)?;
        let disputed = self.disputed.ok_or(Error::DISPUTE)?;
        let (from, until) = self.award_times();
        (from..until).contains(&self.now).then_some(()).ok_or(Error::TIME)?;
        (gross <= disputed).then_some(()).ok_or(Error::AMOUNT)?;
        self.payable(gross)?;
        let cost = self.debit(gross) - self.debit(self.paid);
        (cost <= self.cap()).then_some(()).ok_or(Error::CAP)?;
        (self.paid, self.disputed) = (gross, None);
        Ok(())
    }

    /// Every balance follows from what was paid, in whatever steps.
    fn compare(&self, world: &World) {
        let Fees { buyer, supplier, burn } = self.terms.fees;
        let (buyer_fee, supplier_fee) = (floor(self.paid, buyer), floor(self.paid, supplier));
        let burn = floor(buyer_fee + supplier_fee, burn);
        let rest = self.deposit - self.paid - buyer_fee;
        let (vault, refund) = if self.open { (rest, 0) } else { (0, rest) };
        assert_eq!(world.vault.amount(), vault);
        assert_eq!(world.buyer_tokens.amount(), WEALTH - self.deposit + refund);
        assert_eq!(world.supplier_tokens.amount(), self.paid - supplier_fee);
        assert_eq!(world.treasury_tokens.amount(), buyer_fee + supplier_fee - burn);
        assert_eq!(world.mint.supply(), WEALTH - burn);
        assert_eq!(world.tokens(), world.mint.supply());
        assert_eq!(magic(&world.lease), if self.open { lease::OPEN } else { lease::CLOSED });
        // Whatever arbiter and supplier do together, it costs no more than vouchers and the cap.
        assert!(self.debit(self.paid) <= self.debit(self.vouched) + self.cap());
    }
}

fn fees(random: &mut Random) -> Fees {
    Fees {
        buyer: random.below(1_001) as u16,
        supplier: random.below(1_001) as u16,
        burn: random.below(10_001) as u16,
    }
}

fn random_terms(random: &mut Random) -> Terms {
    let mut terms = Terms {
        deposit: 1 + random.below(100_000),
        deadline: START + 1 + random.below(60) as i64,
        fees: fees(random),
        ..plain_terms()
    };
    if random.below(5) > 0 {
        terms.arbiter_cap = 1 + random.below(5_000) as u16;
        terms.dispute_delay = 1 + random.below(20) as u32;
    }
    terms
}

/// Makes one random step in both; returns the number of the instruction and both codes.
fn step(random: &mut Random, world: &mut World, model: &mut Model) -> (u8, u64, u64) {
    let submitter = random.of(&[BUYER, SUPPLIER, STRANGER]);
    let signer = random.of(&[BUYER, BUYER, SUPPLIER, SUPPLIER, ARBITER, ARBITER, STRANGER, [0; 32]]);
    let most = model.deposit + model.deposit / 4 + 2;
    let limit = random.of(&[most, model.paid + most / 8 + 1, model.disputed.unwrap_or(most) + 1]);
    let gross = random.below(limit);
    let instruction = match model.disputed {
        Some(_) => random.of(&[1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6]),
        None => random.of(&[1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 6, 6]),
    };
    if !model.open {
        let code = match instruction {
            1 => world.claim(submitter, gross),
            2 => world.close(submitter),
            3 => world.top_up(gross),
            4 => world.extend(BUYER, model.now + 5),
            5 => world.dispute(SUPPLIER, gross),
            _ => world.award(ARBITER, gross),
        };
        return (instruction, code, Error::STATE.code());
    }
    let (got, want) = match instruction {
        1 => {
            let signer = random.of(&[BUYER, BUYER, BUYER, SUPPLIER, ARBITER]);
            let sysvar = proof(ed25519(&signer, &world.message(gross)));
            (world.claim_with(submitter, gross, sysvar), model.claim(gross, signer))
        }
        2 => (world.close(submitter), model.close(submitter)),
        3 => {
            let amount = random.below(1_000);
            (world.top_up(amount), model.top_up(amount))
        }
        4 => {
            let deadline = START + random.below(120) as i64;
            (world.extend(signer, deadline), model.extend(signer, deadline))
        }
        5 => (world.dispute(signer, gross), model.dispute(signer, gross)),
        _ => {
            let signer = random.of(&[signer, ARBITER, ARBITER]);
            let near = model.paid + random.below(model.cap() + 2);
            let gross = random.of(&[gross, near]);
            (world.award(signer, gross), model.award(signer, gross))
        }
    };
    (instruction, got, want.map_or_else(Error::code, |()| 0))
}

#[test]
fn random_sequences_agree_with_the_model() {
    let mut random = Random::seeded(42);
    let (mut done, mut refused) = ([0; 7], 0);
    for _ in 0..8_000 {
        let terms = random_terms(&mut random);
        let mut world = World::of(&bourse::config::Terms { min_dispute_delay: 0, ..market() });
        assert_eq!(world.open(&terms), 0);
        let mut model = Model::new(terms);
        for _ in 0..24 {
            model.now += random.below(8) as i64;
            world.runtime.now = model.now;
            let (instruction, got, want) = step(&mut random, &mut world, &mut model);
            assert_eq!(got, want, "instruction {instruction}");
            model.compare(&world);
            if want == 0 {
                done[instruction as usize] += 1
            } else {
                refused += 1
            }
        }
    }
    // Each instruction succeeded often enough for the comparison to mean something.
    assert!(done[1..].iter().all(|n| *n > 400) && refused > 5_000, "{done:?} done, {refused} refused");
}

/// However an amount is collected, everybody gets the same.
#[test]
fn any_order_of_claims_pays_the_same_as_one() {
    let mut random = Random::seeded(43);
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
