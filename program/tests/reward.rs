// SPDX-License-Identifier: Apache-2.0
//! The tree of the rewards, and every way in which an instruction about rewards is refused.

mod market;
mod world;

use bourse::abi::Key;
use bourse::error::Error;
use bourse::host::sha256::digest;
use bourse::host::State;
use bourse::reward::tree::{Leaf, MAX_DEPTH};
use bourse::system;
use market::*;
use world::Random;

fn leaf(rewards: &Key, wallet: &Key, amount: u64) -> Key {
    digest(&[&[0], &rewards[..], wallet, &amount.to_le_bytes()].concat())
}

fn node(a: &Key, b: &Key) -> Key {
    digest(&[&[1], &a.min(b)[..], a.max(b)].concat())
}

/// A tree: its levels from the leaves to the root. A lone node of a level moves up.
struct Tree(Vec<Vec<Key>>);

impl Tree {
    fn new(leaves: Vec<Key>) -> Tree {
        let mut levels = vec![leaves];
        while levels[levels.len() - 1].len() > 1 {
            let up = levels[levels.len() - 1].chunks(2);
            levels.push(
                up.map(|pair| if pair.len() == 2 { node(&pair[0], &pair[1]) } else { pair[0] }).collect(),
            );
        }
        Tree(levels)
    }
    fn root(&self) -> Key {
        self.0[self.0.len() - 1][0]
    }
    fn proof(&self, leaf: usize) -> Vec<Key> {
        let siblings = self.0.iter().enumerate().map(|(level, nodes)| nodes.get(leaf >> level ^ 1));
        siblings.take(self.0.len() - 1).flatten().copied().collect()
    }
}

/// The tree of a list of wallets and what they have earned in all.
fn tree(market: &Market, list: &[(Key, u64)]) -> Tree {
    Tree::new(list.iter().map(|(wallet, amount)| leaf(&market.rewards(), wallet, *amount)).collect())
}

/// A market with rewards of which `funds` are in the vault.
fn funded(funds: u64) -> Market {
    let mut market = Market::new();
    market.done(market.create_rewards());
    fund(&mut market, funds);
    market
}

fn fund(market: &mut Market, funds: u64) {
    let mut vault = market.state(market.rewards_vault());
    let amount = vault.amount() + funds;
    vault.data[64..72].copy_from_slice(&amount.to_le_bytes());
    market.put(vault);
}

const LIST: [(Key, u64); 3] = [(ALICE, 100), (BOB, 200), (OWNER, 300)];

/// The same with the first epoch posted, in which three wallets have earned 600.
fn posted() -> (Market, Tree) {
    let mut market = funded(1_000);
    let tree = tree(&market, &LIST);
    market.done(market.post(1, 600, tree.root()));
    (market, tree)
}

#[test]
fn digests_are_those_of_the_standard() {
    let hex = |digest: Key| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(digest(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(hex(digest(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(
        hex(digest(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
}

fn unhex(text: &str) -> Key {
    let byte = |i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    core::array::from_fn(byte)
}

/// The vectors that all implementations of the tree share.
#[test]
fn the_tree_agrees_with_the_vectors() {
    let (mut rewards, mut leaves, mut proofs) = ([0; 32], vec![], 0);
    for line in include_str!("../testdata/rewards.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "rewards" => rewards = unhex(words[1]),
            "leaf" => {
                let (wallet, amount) = (unhex(words[1]), words[2].parse().unwrap());
                assert_eq!(leaf(&rewards, &wallet, amount), unhex(words[3]));
                leaves.push((wallet, amount));
            }
            "node" => assert_eq!(node(&unhex(words[1]), &unhex(words[2])), unhex(words[3])),
            "root" | "proof" => {
                let n = words[1].parse::<usize>().unwrap();
                let hash = |(wallet, amount): &(Key, u64)| leaf(&rewards, wallet, *amount);
                let tree = Tree::new(leaves[..n].iter().map(hash).collect());
                if words[0] == "root" {
                    assert_eq!(tree.root(), unhex(words[2]));
                    continue;
                }
                let (wallet, amount) = leaves[words[2].parse::<usize>().unwrap()];
                let proof = words[3..].iter().map(|word| unhex(word)).collect::<Vec<Key>>().concat();
                let claim = Leaf { rewards: &rewards, wallet: &wallet, amount };
                assert_eq!(claim.check(&tree.root(), &proof), Ok(()));
                proofs += 1;
            }
            _ => assert!(line.starts_with('#')),
        }
    }
    assert_eq!(proofs, 28);
}

#[test]
fn rewards_live() {
    let (mut market, first) = posted();
    market.done(market.claim(STRANGER, ALICE, 100, &first.proof(0)));
    assert_eq!(market.amount(tokens(ALICE)), WEALTH + 100);
    market.refused(&market.claim(ALICE, ALICE, 100, &first.proof(0)), Error::AMOUNT);

    // Alice earns 50 more; Bob, who missed the first epoch, nothing.
    let second = tree(&market, &[(ALICE, 150), (BOB, 200), (OWNER, 300), (STRANGER, 350)]);
    market.done(market.post(2, 1_000, second.root()));
    market.refused(&market.claim(ALICE, ALICE, 100, &first.proof(0)), Error::PROOF);
    market.done(market.claim(ALICE, ALICE, 150, &second.proof(0)));
    market.done(market.claim(BOB, BOB, 200, &second.proof(1)));
    market.done(market.claim(BOB, OWNER, 300, &second.proof(2)));
    market.done(market.claim(STRANGER, STRANGER, 350, &second.proof(3)));
    let got = [ALICE, BOB, OWNER, STRANGER].map(|wallet| market.amount(tokens(wallet)) - WEALTH);
    assert_eq!((got, market.amount(market.rewards_vault())), ([150, 200, 300, 350], 0));
}

#[test]
fn the_accounts_are_laid_out_as_documented() {
    let (mut market, tree) = posted();
    market.done(market.claim(STRANGER, BOB, 200, &tree.proof(1)));
    let mut want = b"bourse2\x30".to_vec();
    for key in [market.config, MINT, tree.root()] {
        want.extend(key);
    }
    [1u64, 600, 200].iter().for_each(|word| want.extend(word.to_le_bytes()));
    want.extend([DECIMALS, 255, 255, 2, 0, 0, 0, 0]);
    let rewards = market.state(market.rewards());
    assert_eq!((rewards.data, rewards.lamports), (want, system::rent(136)));

    let mut want = b"bourse2\x31".to_vec();
    want.extend(market.rewards());
    want.extend(BOB);
    want.extend(200u64.to_le_bytes());
    want.extend([255, 2, 0, 0, 0, 0, 0, 0]);
    let receipt = market.state(market.receipt(BOB));
    assert_eq!((receipt.data, receipt.lamports), (want, system::rent(88)));
}

#[test]
fn create_refuses() {
    let mut market = Market::new();
    let good = market.create_rewards();
    market.refused(&good.with(0, write(AUTHORITY)), Error::SIGNER);
    market.refused(&good.with(0, Meta { writable: true, ..sign(STRANGER) }), Error::SIGNER);
    market.refused(&good.with(1, read(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write([99; 32])), Error::PDA);
    market.refused(&good.with(3, write([99; 32])), Error::PDA);
    market.refused(&good.with(4, read(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(5, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.with(6, read([99; 32])), Error::ARGUMENT);
    let other = market.runtime.derive(&[b"rewards", &market.config], 254);
    let vault = market.runtime.find(&[b"rewards-vault", &other]).0;
    market.refused(&good.with(2, write(other)).with(3, write(vault)).bytes(1, &[254]), Error::PDA);
    let vault = market.runtime.derive(&[b"rewards-vault", &market.rewards()], 254);
    market.refused(&good.with(3, write(vault)).bytes(2, &[254]), Error::PDA);
    market.put(State::wallet(market.rewards(), 1));
    market.done(good.clone());
    market.refused(&good, Error::STATE);
}

#[test]
fn post_refuses() {
    let (mut market, tree) = posted();
    let good = market.post(2, 1_000, [7; 32]);
    market.refused(&good.with(0, read(AUTHORITY)), Error::SIGNER);
    market.refused(&good.with(0, sign(STRANGER)), Error::SIGNER);
    market.refused(&good.with(1, read(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(2, write(market.config)), Error::STATE);
    market.refused(&good.with(2, read(market.rewards())), Error::STATE);
    market.refused(&good.with(3, read(tokens(OWNER))), Error::PDA);
    for epoch in [0, 1, 3, u64::MAX] {
        market.refused(&market.post(epoch, 1_000, [7; 32]), Error::STATE);
    }
    market.refused(&market.post(2, 599, [7; 32]), Error::AMOUNT);
    // Not more than there is: neither before nor after some of it was paid.
    market.refused(&market.post(2, 1_001, [7; 32]), Error::AMOUNT);
    market.done(market.claim(BOB, BOB, 200, &tree.proof(1)));
    market.refused(&market.post(2, 1_001, [7; 32]), Error::AMOUNT);
    market.refused(&market.post(2, u64::MAX, [7; 32]), Error::AMOUNT);
    market.done(good);
    fund(&mut market, 5);
    market.refused(&market.post(3, 1_006, [7; 32]), Error::AMOUNT);
    market.done(market.post(3, 1_005, [7; 32]));
}

#[test]
fn the_authority_of_another_market_posts_nothing_here() {
    let (mut market, _) = posted();
    market.done(market.create_config(STRANGER, MINT, TERMS));
    let other = market.runtime.find(&[b"config", &STRANGER]).0;
    let call = market.post(2, 1_000, [7; 32]).with(0, sign(STRANGER));
    market.refused(&call.with(1, read(other)), Error::PARTY);
    market.refused(&call, Error::SIGNER);
}

#[test]
fn claim_refuses_bad_accounts() {
    let (mut market, tree) = posted();
    market.done(market.claim(STRANGER, BOB, 200, &tree.proof(1)));
    let good = market.claim(STRANGER, ALICE, 100, &tree.proof(0));
    market.refused(&good.with(0, write(STRANGER)), Error::SIGNER);
    market.refused(&good.with(1, write(STRANGER)), Error::OWNER);
    market.refused(&good.with(1, write(market.config)), Error::STATE);
    market.refused(&good.with(1, read(market.rewards())), Error::STATE);
    market.refused(&good.with(2, write(tokens(AUTHORITY))), Error::PDA);
    market.refused(&good.with(3, write([99; 32])), Error::PDA);
    market.refused(&good.with(3, write(market.receipt(BOB))), Error::PARTY);
    market.refused(&good.with(3, write(market.receipt(OWNER))), Error::PDA);
    market.refused(&good.with(3, write(tokens(ALICE))), Error::OWNER);
    market.refused(&good.with(3, write(market.rewards())), Error::STATE);
    market.refused(&good.with(4, read(STRANGER)), Error::PARTY);
    market.refused(&good.with(4, read(STRANGER)).with(5, write(tokens(STRANGER))), Error::PROOF);
    market.refused(&good.with(5, write(tokens(STRANGER))), Error::PARTY);
    market.refused(&good.with(5, write(tokens_of(ALICE, OTHER_MINT))), Error::PARTY);
    market.refused(&good.with(5, write(market.rewards_vault())), Error::PARTY);
    market.refused(&good.with(6, read(OTHER_MINT)), Error::MINT);
    market.refused(&good.with(7, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.with(8, read([99; 32])), Error::ARGUMENT);
    market.refused(&good.bytes(9, &[254]), Error::PDA);
    let other = market.runtime.derive(&[b"reward", &market.rewards(), &ALICE], 254);
    market.refused(&good.with(3, write(other)).bytes(9, &[254]), Error::PDA);
    // A receipt of this program is needed, of this version.
    market.done(good.clone());
    for (at, want) in [(None, Error::OWNER), (Some(7), Error::STATE), (Some(81), Error::STATE)] {
        let mut market = market.clone();
        let mut receipt = market.state(market.receipt(ALICE));
        match at {
            None => receipt.owner = [99; 32],
            Some(at) => receipt.data[at] ^= 1,
        }
        market.put(receipt);
        market.refused(&good, want);
    }
    for at in [7, 131] {
        let mut market = market.clone();
        let mut rewards = market.state(market.rewards());
        rewards.data[at] ^= 1;
        market.put(rewards);
        market.refused(&good, Error::STATE);
    }
}

#[test]
fn claim_refuses_bad_proofs() {
    let (market, tree) = posted();
    let proof = tree.proof(0);
    market.clone().done(market.claim(STRANGER, ALICE, 100, &proof));
    for amount in [0, 99, 101, u64::MAX] {
        market.refused(&market.claim(STRANGER, ALICE, amount, &proof), Error::PROOF);
    }
    market.refused(&market.claim(STRANGER, ALICE, 100, &tree.proof(1)), Error::PROOF);
    market.refused(&market.claim(STRANGER, ALICE, 100, &proof[..1]), Error::PROOF);
    market.refused(&market.claim(STRANGER, ALICE, 100, &[]), Error::PROOF);
    market.refused(&market.claim(STRANGER, STRANGER, 100, &proof), Error::PROOF);
    let swapped = [proof[1], proof[0]];
    market.refused(&market.claim(STRANGER, ALICE, 100, &swapped), Error::PROOF);
    let mut longer = proof.clone();
    longer.push(tree.root());
    market.refused(&market.claim(STRANGER, ALICE, 100, &longer), Error::PROOF);
    for bit in 0..512 {
        let mut bent = proof.concat();
        bent[bit / 8] ^= 1 << (bit % 8);
        let call = market.claim(STRANGER, ALICE, 100, &proof);
        market.refused(&call.bytes(10, &bent), Error::PROOF);
    }
    // Half a step, and too many of them.
    for len in [1, 31, 33] {
        let mut call = market.claim(STRANGER, ALICE, 100, &[]);
        call.data.extend(vec![0; len]);
        market.refused(&call, Error::ARGUMENT);
    }
    let deep = vec![[1; 32]; MAX_DEPTH + 1];
    market.refused(&market.claim(STRANGER, ALICE, 100, &deep), Error::ARGUMENT);
    market.refused(&market.claim(STRANGER, ALICE, 100, &deep[1..]), Error::PROOF);
    let mut short = market.claim(STRANGER, ALICE, 100, &[]);
    short.data.pop();
    market.refused(&short, Error::ARGUMENT);
}

/// Nothing can be claimed before a root is posted, whatever hashes to nothing.
#[test]
fn without_a_root_nothing_is_paid() {
    let market = funded(1_000);
    market.refused(&market.claim(ALICE, ALICE, 1, &[]), Error::PROOF);
}

/// A node is no leaf: its 64 bytes of content cannot be taken for a rewards account and a wallet.
#[test]
fn a_node_does_not_pass_for_a_leaf() {
    let mut market = funded(1_000);
    // A tree over one level of hashes without the first byte would have this as the digest of an inner node.
    let inner = digest(&[&market.rewards()[..], &STRANGER, &500u64.to_le_bytes()].concat());
    let root = node(&inner, &[1; 32]);
    market.done(market.post(1, 500, root));
    market.refused(&market.claim(STRANGER, STRANGER, 500, &[[1; 32]]), Error::PROOF);
    // The other way round: a leaf's content hashed as a node.
    let inner = digest(&[&[1], &market.rewards()[..], &STRANGER, &500u64.to_le_bytes()].concat());
    market.done(market.post(2, 500, node(&inner, &[1; 32])));
    market.refused(&market.claim(STRANGER, STRANGER, 500, &[[1; 32]]), Error::PROOF);
}

#[test]
fn a_leaf_of_another_market_is_worth_nothing_here() {
    let mut market = funded(1_000);
    let here = market.rewards();
    let elsewhere = Tree::new(vec![leaf(&[99; 32], &ALICE, 100), leaf(&[99; 32], &BOB, 100)]);
    market.done(market.post(1, 200, elsewhere.root()));
    market.refused(&market.claim(ALICE, ALICE, 100, &elsewhere.proof(0)), Error::PROOF);
    assert_ne!(leaf(&here, &ALICE, 100), leaf(&[99; 32], &ALICE, 100));
}

/// The leaves say 600, but only 350 were posted: nobody gets more than was posted in all, or what is not there.
#[test]
fn a_root_cannot_pay_more_than_was_posted() {
    let mut market = funded(1_000);
    let list = tree(&market, &LIST);
    market.done(market.post(1, 350, list.root()));
    market.done(market.claim(BOB, BOB, 200, &list.proof(1)));
    market.refused(&market.claim(OWNER, OWNER, 300, &list.proof(2)), Error::CAP);
    market.done(market.claim(ALICE, ALICE, 100, &list.proof(0)));
    market.done(market.post(2, 600, list.root()));
    market.done(market.claim(OWNER, OWNER, 300, &list.proof(2)));
}

/// A later tree that says less takes nothing back and pays nothing.
#[test]
fn a_smaller_amount_pays_nothing() {
    let (mut market, tree) = posted();
    market.done(market.claim(BOB, BOB, 200, &tree.proof(1)));
    let less = leaf(&market.rewards(), &BOB, 150);
    market.done(market.post(2, 600, less));
    market.refused(&market.claim(BOB, BOB, 150, &[]), Error::AMOUNT);
    let zero = leaf(&market.rewards(), &ALICE, 0);
    market.done(market.post(3, 600, zero));
    market.refused(&market.claim(ALICE, ALICE, 0, &[]), Error::AMOUNT);
}

/// Random epochs, claims in any order, by anybody, and again: everybody gets exactly what the lists say.
#[test]
fn every_list_is_paid_exactly_once() {
    let mut random = Random::seeded(45);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut market = funded(0);
        let wallets = [OWNER, ALICE, BOB, ARBITER, STRANGER];
        let (mut earned, mut paid, mut total) = ([0; 5], [0; 5], 0);
        for epoch in 1..6 {
            for amount in &mut earned {
                let most = random.of(&[1, 2, 1_000]);
                *amount += random.below(most);
            }
            fund(&mut market, earned.iter().sum::<u64>() - total);
            total = earned.iter().sum();
            let list: Vec<(Key, u64)> = wallets.into_iter().zip(earned).collect();
            let tree = tree(&market, &list[..]);
            market.done(market.post(epoch, total, tree.root()));
            for _ in 0..random.below(10) {
                let i = random.below(5) as usize;
                let call = market.claim(random.of(&EVERYBODY), wallets[i], earned[i], &tree.proof(i));
                let want = if earned[i] > paid[i] { 0 } else { Error::AMOUNT.code() };
                assert_eq!(market.send(&call), want);
                paid[i] = earned[i];
                *(if want == 0 { &mut done } else { &mut refused }) += 1;
            }
            assert_eq!(wallets.map(|wallet| market.amount(tokens(wallet)) - WEALTH), paid);
            assert_eq!(market.amount(market.rewards_vault()), total - paid.iter().sum::<u64>());
        }
    }
    assert!(done > 2_000 && refused > 1_000, "{done} done, {refused} refused");
}
