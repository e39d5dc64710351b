// SPDX-License-Identifier: Apache-2.0
//! Random sequences about stakes against a model of plain integers, and garbage.

mod market;
mod world;

use bourse::abi::Key;
use bourse::error::Error;
use bourse::host::sha256::digest;
use bourse::host::State;
use bourse::system;
use market::*;
use std::collections::BTreeMap;
use world::Random;

const STAKERS: [Key; 3] = [OWNER, ALICE, BOB];
const PERIOD: i64 = 30 * DAY;

/// A staker's shares.
#[derive(Clone, Copy, Default, Debug)]
struct Held {
    bonded: u128,
    unbonding: u128,
    unlock_at: i64,
}

struct Pending {
    amount: u128,
    appeal_until: i64,
    decide_until: i64,
    appealed: bool,
}

/// What the model knows about a pool.
struct Model {
    terms: Terms,
    now: i64,
    total: u128,
    shares: u128,
    held: BTreeMap<Key, Held>,
    tokens: BTreeMap<Key, u128>,
    donated: u128,
    burned: u128,
    number: u32,
    pending: Option<Pending>,
    calm_until: i64,
    slashed_at: i64,
    mark: (u128, u128),
    /// What the pool was worth before each slash: time, total, shares. Forgotten when the pool is empty.
    history: Vec<(i64, u128, u128)>,
    steps: u128,
}

type Step = Result<(), u64>;

fn need(ok: bool, error: Error) -> Step {
    if ok {
        Ok(())
    } else {
        Err(error.code())
    }
}

impl Model {
    fn new(terms: Terms) -> Model {
        Model {
            terms,
            now: NOW,
            total: 0,
            shares: 0,
            held: BTreeMap::new(),
            tokens: EVERYBODY.into_iter().map(|key| (key, WEALTH as u128)).collect(),
            donated: 0,
            burned: 0,
            number: 0,
            pending: None,
            calm_until: 0,
            slashed_at: 0,
            mark: (0, 0),
            history: vec![],
            steps: 0,
        }
    }

    fn own(&self) -> u128 {
        self.held.get(&OWNER).map_or(0, |held| held.bonded)
    }

    fn unbonding(&self) -> u128 {
        self.held.values().map(|held| held.unbonding).sum()
    }

    /// What all that somebody holds is worth, rounded down.
    fn worth(&self, key: Key) -> u128 {
        let held = self.held.get(&key).copied().unwrap_or_default();
        (held.bonded + held.unbonding) * self.total / self.shares.max(1)
    }

    fn bond(&mut self, key: Key, amount: u128) -> Step {
        need(amount > 0, Error::AMOUNT)?;
        let shares = if self.shares == 0 { amount } else { amount * self.shares / self.total };
        if key != OWNER {
            need(self.pending.is_none(), Error::HELD)?;
            let delegated = self.shares + shares - self.unbonding() - self.own();
            need(delegated <= self.own() * self.terms.max_delegation as u128 / 10_000, Error::CAP)?;
        }
        need(self.tokens[&key] >= amount, Error::new(1))?;
        *self.tokens.get_mut(&key).unwrap() -= amount;
        self.held.entry(key).or_default().bonded += shares;
        self.total += amount;
        self.shares += shares;
        Ok(())
    }

    fn unbond(&mut self, key: Key, shares: u128) -> Step {
        let held = self.held.get_mut(&key).ok_or(Error::OWNER.code())?;
        need(shares > 0 && shares <= held.bonded, Error::AMOUNT)?;
        held.bonded -= shares;
        held.unbonding += shares;
        held.unlock_at = held.unlock_at.max(self.now + self.terms.cooldown as i64);
        Ok(())
    }

    fn withdraw(&mut self, key: Key) -> Step {
        let held = self.held.get(&key).copied().ok_or(Error::OWNER.code())?;
        need(held.unbonding > 0, Error::AMOUNT)?;
        need(self.now >= held.unlock_at, Error::TIME)?;
        need(self.pending.is_none(), Error::HELD)?;
        let due = held.unbonding * self.total / self.shares;
        self.held.insert(key, Held { bonded: held.bonded, ..Held::default() });
        self.total -= due;
        self.shares -= held.unbonding;
        *self.tokens.get_mut(&key).unwrap() += due;
        if self.shares == 0 {
            self.mark = (0, 0);
            self.history.clear();
        }
        Ok(())
    }

    fn propose(&mut self, amount: u128) -> Step {
        need(self.pending.is_none(), Error::HELD)?;
        need(self.now >= self.calm_until, Error::TIME)?;
        need(amount > 0 && amount < self.total, Error::AMOUNT)?;
        let fresh = self.mark.1 == 0 || self.now >= self.slashed_at + PERIOD;
        let (total, shares) = if fresh { (self.total, self.shares) } else { self.mark };
        let keep = total - total * self.terms.max_slash as u128 / 10_000;
        need(self.total - amount >= (self.shares * keep).div_ceil(shares), Error::CAP)?;
        self.mark = (total, shares);
        self.number += 1;
        let appeal_until = self.now + self.terms.slash_window as i64;
        let decide_until = appeal_until + self.terms.slash_hold as i64;
        self.pending = Some(Pending { amount, appeal_until, decide_until, appealed: false });
        Ok(())
    }

    fn pending(&mut self, number: u32) -> Result<&mut Pending, u64> {
        let same = number == self.number;
        self.pending.as_mut().filter(|_| same).ok_or(Error::STATE.code())
    }

    fn appeal(&mut self, number: u32) -> Step {
        let now = self.now;
        let pending = self.pending(number)?;
        need(!pending.appealed, Error::STATE)?;
        need(now < pending.appeal_until, Error::TIME)?;
        pending.appealed = true;
        Ok(())
    }

    fn execute(&mut self, key: Key, number: u32) -> Step {
        let now = self.now;
        let pending = self.pending(number)?;
        need(now < pending.decide_until, Error::TIME)?;
        if pending.appealed {
            need(key == ARBITER, Error::SIGNER)?;
        } else {
            need(now >= pending.appeal_until, Error::TIME)?;
        }
        let amount = pending.amount;
        self.history.push((now, self.total, self.shares));
        let before: Vec<u128> = STAKERS.iter().map(|staker| self.worth(*staker)).collect();
        self.total -= amount;
        self.burned += amount;
        self.slashed_at = now;
        self.end();
        self.check_shared(amount, &before);
        self.check_cap();
        Ok(())
    }

    fn drop_slash(&mut self, key: Key, number: u32) -> Step {
        let now = self.now;
        let pending = self.pending(number)?;
        let may = key == AUTHORITY || key == ARBITER && pending.appealed;
        need(may || now >= pending.decide_until, Error::TIME)?;
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        self.pending = None;
        self.calm_until = self.now + DAY;
    }

    /// A slash takes from everybody in proportion to the shares, to less than one unit.
    fn check_shared(&self, amount: u128, before: &[u128]) {
        for (staker, before) in STAKERS.iter().zip(before) {
            let held = self.held.get(staker).copied().unwrap_or_default();
            let lost = (before - self.worth(*staker)) * self.shares;
            let exact = (held.bonded + held.unbonding) * amount;
            assert!(lost < exact + self.shares && exact < lost + self.shares, "{lost} of {exact}");
        }
    }

    /// No 30 days take more of a share than the cap. Rounding in favour of the pool may raise the worth of its
    /// shares by less than a unit of the total a step.
    fn check_cap(&self) {
        for (at, total, shares) in &self.history {
            if *at > self.now - PERIOD {
                let keep = total.saturating_sub(self.steps) * (10_000 - self.terms.max_slash as u128);
                assert!(self.total * shares * 10_000 >= keep * self.shares);
            }
        }
    }

    /// Everything in the accounts follows from the model, and what must always hold does.
    fn compare(&self, market: &Market) {
        let words = |words: [u64; 6]| words.map(u128::from);
        let got = [104, 112, 120, 128, 136].map(|at| market.pool_word(at));
        let [total, shares, own, unbonding, slashed] = got;
        let want = [self.total, self.shares, self.own(), self.unbonding(), self.burned, self.burned];
        let supply = WEALTH * EVERYBODY.len() as u64;
        assert_eq!(words([total, shares, own, unbonding, slashed, supply - market.supply()]), want);
        assert_eq!(market.amount(market.vault(OWNER)) as u128, self.total + self.donated);
        for staker in STAKERS {
            let held = self.held.get(&staker).copied().unwrap_or_default();
            let got = [72, 80, 88].map(|at| market.position_word(staker, at) as u128);
            assert_eq!(got, [held.bonded, held.unbonding, held.unlock_at as u128]);
        }
        for (key, amount) in &self.tokens {
            assert_eq!(market.amount(tokens(*key)) as u128, *amount);
            assert!(amount + self.worth(*key) <= WEALTH as u128, "gained something");
        }
        let all: u128 = self.held.values().map(|held| held.bonded + held.unbonding).sum();
        assert_eq!(all, self.shares);
        assert!(self.total <= self.shares, "a share is worth more than a unit");
        assert_eq!(self.total == 0, self.shares == 0);
        let sum: u128 = self.tokens.values().sum();
        assert_eq!(sum + self.total + self.donated + self.burned, supply as u128, "value is conserved");
    }
}

/// One random step: what the program says to it, and what the model does.
fn step(random: &mut Random, market: &mut Market, model: &mut Model, size: u64) -> (u64, Step) {
    let pause = random.of(&[0, 1, 3_600, DAY, 7 * DAY, 14 * DAY, 31 * DAY]);
    model.now += pause;
    model.steps += 1;
    market.wait(pause);
    let staker = random.of(&STAKERS);
    let amount = random.below(size);
    let number = model.number.wrapping_sub((random.below(8) == 0) as u32);
    let submitter = random.of(&EVERYBODY);
    match random.below(18) {
        0..=3 => (market.send(&market.bond(staker, amount)), model.bond(staker, amount as u128)),
        4..=5 => {
            let bonded = model.held.get(&staker).map_or(0, |held| held.bonded) as u64;
            let shares = random.of(&[amount, bonded, bonded / 2, bonded + 1]);
            (market.send(&market.unbond(staker, shares)), model.unbond(staker, shares as u128))
        }
        6..=8 => (market.send(&market.withdraw(staker)), model.withdraw(staker)),
        9..=11 => {
            let most = model.total as u64 * model.terms.max_slash as u64 / 10_000;
            let amount = random.of(&[1, most, most / 2, most + 1, amount]);
            (market.send(&market.propose(amount)), model.propose(amount as u128))
        }
        12 => (market.send(&market.appeal(number)), model.appeal(number)),
        13..=15 => (market.send(&market.execute(submitter, number)), model.execute(submitter, number)),
        16 => (market.send(&market.drop_slash(submitter, number)), model.drop_slash(submitter, number)),
        _ => {
            // Somebody sends tokens to the vault.
            for (key, change) in [(tokens(STRANGER), -1i64), (market.vault(OWNER), 1)] {
                let mut state = market.state(key);
                let amount = state.amount().wrapping_add_signed(change);
                state.data[64..72].copy_from_slice(&amount.to_le_bytes());
                market.put(state);
            }
            model.donated += 1;
            *model.tokens.get_mut(&STRANGER).unwrap() -= 1;
            (0, Ok(()))
        }
    }
}

#[test]
fn random_sequences_agree_with_the_model() {
    let mut random = Random::seeded(46);
    let (mut done, mut refused, mut slashes) = (0, 0, 0);
    for _ in 0..1_500 {
        let terms = Terms {
            max_slash: random.of(&[0, 1_000, 1_000, 5_000, 10_000]),
            max_delegation: random.of(&[0, 5_000, 10_000, 10_000]),
            slash_window: random.of(&[3_600, 7 * DAY as u32]),
            slash_hold: random.of(&[7 * DAY as u32, 30 * DAY as u32]),
            cooldown: random.of(&[0, 14 * DAY as u32]),
            ..TERMS
        };
        let mut market = Market::with(terms);
        market.done(market.create(OWNER));
        let mut model = Model::new(terms);
        let size = random.of(&[6, 100, 1_000_000]);
        for _ in 0..40 {
            let (got, want) = step(&mut random, &mut market, &mut model, size);
            assert_eq!(got, want.err().unwrap_or(0));
            model.compare(&market);
            *(if got == 0 { &mut done } else { &mut refused }) += 1;
        }
        slashes += (model.burned > 0) as u32;
    }
    assert!(done > 10_000 && refused > 10_000 && slashes > 200, "{done} {refused} {slashes}");
}

/// However somebody bonds, unbonds and withdraws while others do, without a slash it costs at most a unit a
/// withdrawal or bond, and brings nothing.
#[test]
fn coming_and_going_costs_a_unit_at_most() {
    let mut random = Random::seeded(47);
    for _ in 0..500 {
        let terms = Terms { cooldown: 0, max_slash: 5_000, ..TERMS };
        let mut market = Market::with(terms);
        market.done(market.create(OWNER));
        market.done(market.bond(OWNER, 1_000 + random.below(1_000)));
        market.done(market.propose(1 + random.below(400)));
        market.wait(7 * DAY);
        market.done(market.execute(STRANGER, 1));
        let mut moves = 0;
        for _ in 0..12 {
            let amount = 1 + random.below(50);
            let shares = 1 + random.below(market.position_word(ALICE, 72).max(1));
            let call = random.of(&[0, 1, 2]);
            let call = match call {
                0 => market.bond(ALICE, amount),
                1 => market.unbond(ALICE, shares),
                _ => market.withdraw(ALICE),
            };
            moves += (market.send(&call) == 0) as u64;
        }
        let rest = market.position_word(ALICE, 72);
        if rest > 0 {
            market.done(market.unbond(ALICE, rest));
        }
        if market.position_word(ALICE, 80) > 0 {
            market.done(market.withdraw(ALICE));
        }
        let left = market.amount(tokens(ALICE));
        assert!(left <= WEALTH && left + moves + 1 >= WEALTH, "{left} after {moves} moves");
    }
}

/// A market in the middle of everything: stakes, a pending slash or none, a tree of rewards.
fn busy(random: &mut Random) -> (Market, Key) {
    let mut market = Market::opened();
    market.done(market.bond(OWNER, 1_000));
    market.done(market.bond(ALICE, 500));
    market.done(market.unbond(ALICE, 100));
    market.done(market.create_rewards());
    let leaf = digest(&[&[0], &market.rewards()[..], &BOB, &70u64.to_le_bytes()].concat());
    market.put(State::tokens(market.rewards_vault(), &MINT, &market.rewards(), 70));
    market.done(market.post(1, 70, leaf));
    market.wait(14 * DAY);
    if random.below(2) == 0 {
        market.done(market.propose(150));
        market.wait(random.of(&[0, 7 * DAY]));
    }
    (market, leaf)
}

/// Accounts in wrong places, other data: refused without any change, or nobody has more than before, pays for
/// another, or takes what the pool and the rewards owe.
#[test]
fn garbage_is_refused_or_harmless() {
    let mut random = Random::seeded(48);
    let mut accepted = 0;
    let worlds: Vec<(Market, Key)> = (0..6).map(|_| busy(&mut random)).collect();
    for _ in 0..60_000 {
        let (mut market, root) = worlds[random.below(6) as usize].clone();
        let calls = [
            market.create(random.of(&EVERYBODY)),
            market.bond(random.of(&STAKERS), random.below(300)),
            market.unbond(random.of(&STAKERS), random.below(300)),
            market.withdraw(random.of(&STAKERS)),
            market.propose(random.below(200)),
            market.appeal(1),
            market.execute(random.of(&EVERYBODY), 1),
            market.drop_slash(random.of(&EVERYBODY), 1),
            market.post(2, random.below(100), root),
            market.claim(random.of(&EVERYBODY), BOB, 70, &[]),
        ];
        let mut call = calls[random.below(10) as usize].clone();
        for _ in 0..random.below(3) {
            let other = &calls[random.below(10) as usize].accounts;
            let meta = other[random.below(other.len() as u64) as usize];
            let at = random.below(call.accounts.len() as u64) as usize;
            call.accounts[at] = meta;
        }
        if random.below(3) == 0 {
            let at = random.below(call.data.len() as u64) as usize;
            call.data[at] = random.word() as u8;
        }
        if random.below(16) == 0 {
            call.data.truncate(random.below(call.data.len() as u64) as usize);
        }
        let before = market.clone();
        if market.send(&call) == 0 {
            accepted += 1;
            check_harmless(&before, &market, &call);
        }
    }
    assert!(accepted > 5_000, "only {accepted} were accepted: this tests nothing");
}

fn check_harmless(before: &Market, after: &Market, call: &Call) {
    let worth = |market: &Market, key: Key| {
        let shares = market.position_word(key, 72) + market.position_word(key, 80);
        let worth = shares as u128 * market.total() as u128 / market.shares().max(1) as u128;
        market.amount(tokens(key)) + worth as u64
    };
    let slashed = before.supply() - after.supply();
    for key in EVERYBODY {
        let (had, has) = (worth(before, key), worth(after, key));
        let earned = if key == BOB { 70 } else { 0 };
        assert!(has <= had + earned, "gained");
        let signed = call.accounts.iter().any(|meta| meta.signer && meta.key == key);
        let lost = had.saturating_sub(has);
        assert!(lost <= slashed + 1, "lost {lost}");
        assert!(signed || after.amount(tokens(key)) >= before.amount(tokens(key)), "paid for another");
    }
    assert!(slashed == 0 || slashed == 150);
    assert!(after.amount(after.vault(OWNER)) >= after.total() && after.total() <= after.shares());
    let rewards = after.state(after.rewards()).data;
    let word = |at: usize| u64::from_le_bytes(rewards[at..at + 8].try_into().unwrap());
    assert!(word(112) - word(120) <= after.amount(after.rewards_vault()));
    assert_eq!(after.state(system::ID).owner, system::ID);
}
