// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import test from 'node:test';

import { Ledger, MAX_AGE, STATUS_BLOCKS } from './ledger.mjs';
import { newKey } from './testing.mjs';

const GENESIS = newKey().address;

function ledger(lags = { confirmLag: 2, finalLag: 4 }) {
  return new Ledger({ ...lags, blocks: [{ slot: 0, parent: 0, height: 0, hash: GENESIS, time: 0, signatures: [], changed: [] }] });
}

/** Seals a number of slots with nothing in them. */
function grow(chain, blocks, from = chain.head.slot + 1) {
  for (let i = 0; i < blocks; i++) chain.seal(from + i, 0, []);
}

function entry(chain, signature, slot, keys = ['a']) {
  return { signature, id: `id-${signature}`, slot, height: chain.head.height + 1, keys, err: null };
}

test('levels follow the head at their lag', () => {
  const chain = ledger();
  assert.equal(chain.at('finalized').slot, 0);
  grow(chain, 10);
  assert.deepEqual(['processed', 'confirmed', 'finalized'].map((level) => chain.at(level).slot), [10, 8, 6]);
});

test('what is final stays final after a rollback', () => {
  const chain = ledger();
  grow(chain, 10);
  chain.unwind(6);
  assert.deepEqual(['processed', 'confirmed', 'finalized'].map((level) => chain.at(level).slot), [6, 6, 6]);
  assert.throws(() => chain.unwind(5), /finalized/);
  grow(chain, 3, 12);
  assert.deepEqual(['processed', 'confirmed', 'finalized'].map((level) => chain.at(level).slot), [14, 12, 6]);
  grow(chain, 2);
  assert.equal(chain.at('finalized').slot, 12);
});

test('a blockhash is good for 150 blocks, judged at a level', () => {
  const chain = ledger();
  grow(chain, 1);
  const { hash } = chain.head;
  assert.equal(chain.fresh(hash, 'confirmed'), false, 'confirmed does not know it yet');
  grow(chain, MAX_AGE);
  assert.equal(chain.fresh(hash), true);
  grow(chain, 1);
  assert.equal(chain.fresh(hash), false);
  assert.equal(chain.fresh(hash, 'confirmed'), true);
  assert.equal(chain.age('nobody knows this'), null);
});

test('hashes of two forks differ', () => {
  const chain = ledger();
  grow(chain, 2);
  const lost = chain.head.hash;
  chain.unwind(1);
  grow(chain, 1, 3);
  assert.notEqual(chain.head.hash, lost);
  assert.equal(chain.age(lost), null);
});

test('accounts are remembered as they were', () => {
  const chain = ledger();
  grow(chain, 5);
  const [first, second] = [{ lamports: 1n }, { lamports: 2n }];
  chain.remember(6, 'a', first);
  chain.remember(6, 'a', second);
  grow(chain, 1);
  chain.remember(7, 'a', second);
  chain.remember(7, 'b', null);
  grow(chain, 1);
  assert.equal(chain.difference('a', 'confirmed'), first);
  assert.equal(chain.difference('b', 'confirmed'), null);
  assert.equal(chain.difference('c', 'confirmed'), undefined);
  assert.equal(chain.difference('a', 'processed'), undefined);
  grow(chain, 1);
  assert.equal(chain.difference('a', 'confirmed'), second);
  const { accounts } = chain.unwind(5);
  assert.deepEqual([...accounts], [['a', first], ['b', null]]);
  assert.equal(chain.difference('a', 'finalized'), undefined);
});

test('a rollback forgets transactions everywhere, oldest first', () => {
  const chain = ledger();
  grow(chain, 5);
  for (const name of ['x', 'y']) {
    const slot = chain.head.slot + 1;
    chain.add(entry(chain, name, slot));
    chain.seal(slot, 0, [name]);
  }
  const { lost } = chain.unwind(5);
  assert.deepEqual(lost.map((item) => item.signature), ['x', 'y']);
  assert.equal(chain.status('x', true), null);
  assert.equal(chain.ids.size, 0);
  assert.deepEqual(chain.history('a', { commitment: 'processed', limit: 10 }), []);
});

test('old statuses need a search', () => {
  const chain = ledger();
  chain.add(entry(chain, 'x', 1));
  chain.seal(1, 0, ['x']);
  assert.equal(chain.status('x', false).confirmationStatus, 'processed');
  assert.equal(chain.status('x', false).confirmations, 0);
  grow(chain, STATUS_BLOCKS);
  assert.equal(chain.status('x', false).confirmationStatus, 'finalized');
  grow(chain, 1);
  assert.equal(chain.status('x', false), null);
  assert.equal(chain.status('x', true).confirmations, null);
});

test('lags out of order are refused', () => {
  assert.throws(() => ledger({ confirmLag: 3, finalLag: 2 }), RangeError);
  assert.throws(() => ledger({ confirmLag: 3, finalLag: 5000 }), RangeError);
});
