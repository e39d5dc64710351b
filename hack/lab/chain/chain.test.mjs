// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { Chain } from './chain.mjs';
import { PROGRAM } from './codec.mjs';
import { parseTransaction } from './message.mjs';
import { simulate } from './simulate.mjs';
import { newKey, transfer, wire } from './testing.mjs';

/** A chain whose clock the test moves, and a key with lamports. */
function begin(options = {}) {
  const clock = { ms: 1_700_000_000_000 };
  const chain = new Chain({ now: () => clock.ms, ...options });
  const rich = newKey();
  chain.airdrop(rich.address, 1_000_000_000n);
  chain.tick();
  return { chain, clock, rich };
}

/** Submits a transaction, makes a block, and returns what is known of it. */
function land(chain, tx) {
  chain.submit(tx);
  chain.tick();
  return chain.ledger.entries.get(tx.signature) ?? null;
}

function run(chain, payer, program, data) {
  return parseTransaction(wire(payer, chain.ledger.head.hash, [program], 1, [{ program: 1, accounts: [0], data: Buffer.from(data) }]));
}

test('a failure to load a program costs its fee', () => {
  const { chain, rich } = begin();
  const cases = { ProgramAccountNotFound: newKey().address, InvalidProgramForExecution: 'SysvarC1ock11111111111111111111111111111111' };
  for (const [err, program] of Object.entries(cases)) {
    const before = chain.account(rich.address).lamports;
    const entry = land(chain, run(chain, rich, program, [1]));
    assert.equal(entry.err, err);
    assert.equal(before - chain.account(rich.address).lamports, 5000n);
    assert.equal(entry.meta.preBalances[0] - entry.meta.postBalances[0], 5000);
  }
});

test('what cannot be in a block leaves no trace', () => {
  const { chain, rich } = begin();
  const poor = newKey();
  const spoiled = transfer(rich, poor.address, 1_000_000n, chain.ledger.head.hash);
  spoiled.raw[7] ^= 1;
  const cases = [
    transfer(poor, rich.address, 1n, chain.ledger.head.hash),
    transfer(rich, poor.address, 1_000_000n, newKey().address),
    run(chain, rich, PROGRAM.computeBudget, [77]),
    parseTransaction(spoiled.raw),
  ];
  for (const tx of cases) assert.equal(land(chain, tx), null);
  assert.equal(chain.account(rich.address).lamports, 1_000_000_000n);
  assert.deepEqual(chain.stats, { landed: 1, refused: 3, expired: 1, duplicate: 0 });
});

test('one message lands once in a block, and never again', () => {
  const { chain, rich } = begin();
  const to = newKey().address;
  const tx = transfer(rich, to, 1_000_000n, chain.ledger.head.hash);
  chain.submit(tx);
  chain.submit(tx);
  chain.tick();
  chain.submit(tx);
  chain.tick();
  assert.equal(chain.account(to).lamports, 1_000_000n);
  assert.equal(chain.stats.duplicate, 2);
});

test('time follows the clock, can be warped, and never goes back', () => {
  const { chain, clock } = begin();
  const start = chain.ledger.head.time;
  clock.ms += 5000;
  chain.tick();
  assert.equal(chain.ledger.head.time, start + 5);
  assert.equal(chain.warpTime(3600), start + 3605);
  clock.ms -= 100_000;
  chain.tick();
  assert.equal(chain.ledger.head.time, start + 3605);
  assert.equal(chain.runtime.svm.getClock().unixTimestamp, BigInt(start + 3605));
  assert.throws(() => chain.warpTime(-1), { code: -32602 });
});

test('a simulation leaves the state as it was', () => {
  const { chain, rich } = begin();
  const to = newKey().address;
  chain.submit(transfer(rich, to, 1_000_000n, chain.ledger.head.hash));
  chain.tick();
  const tx = transfer(rich, newKey().address, 999_000_000n, chain.ledger.head.hash);
  assert.equal(simulate(chain, tx, { commitment: 'finalized', verify: true }).err, 'AccountNotFound');
  assert.notEqual(simulate(chain, tx, { commitment: 'processed', verify: true }).err, null);
  assert.equal(chain.account(rich.address).lamports, 1_000_000_000n - 1_000_000n - 5000n);
  assert.equal(chain.account(to).lamports, 1_000_000n);
});

test('an account that is set is there from the next block on, and can be removed', () => {
  const { chain } = begin();
  const key = newKey().address;
  chain.setAccount(key, { lamports: 7n, data: Uint8Array.of(1, 2), owner: PROGRAM.memo, executable: false });
  assert.equal(chain.account(key).lamports, 7n);
  assert.equal(chain.account(key, 'confirmed'), null);
  assert.deepEqual([...chain.owned(PROGRAM.memo).keys()], [key]);
  assert.deepEqual([...chain.owned(PROGRAM.memo, 'confirmed').keys()], []);
  chain.tick(2);
  assert.equal(chain.account(key, 'confirmed').lamports, 7n);
  chain.setAccount(key, null);
  assert.equal(chain.account(key), null);
  assert.deepEqual([...chain.owned(PROGRAM.memo, 'confirmed').keys()], [key]);
});

test('two chains built from one folder are the same, after forks too', (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bourse-chain-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const { chain, rich } = begin({ dir, finalLag: 4 });
  const keys = Array.from({ length: 6 }, () => newKey().address);
  for (const [i, key] of keys.entries()) {
    land(chain, transfer(rich, key, 1_000_000n, chain.ledger.head.hash));
    if (i % 2 === 1) chain.rollback(chain.ledger.blocks[chain.ledger.blocks.length - 2].slot, i === 3);
    chain.tick(i);
  }
  const fromJournal = new Chain({ dir, finalLag: 4, now: chain.now });
  const fromSnapshot = new Chain({ dir, finalLag: 4, now: chain.now });
  const state = (c) => ({
    slot: c.slot, count: c.count, genesis: c.genesis, blocks: c.ledger.blocks, root: c.ledger.root,
    before: [...c.ledger.before], entries: [...c.ledger.entries], ids: [...c.ledger.ids].sort(),
    balances: [rich.address, ...keys].map((key) => ['processed', 'confirmed', 'finalized'].map((level) => c.account(key, level)?.lamports)),
  });
  assert.deepEqual(state(fromJournal), state(chain));
  assert.deepEqual(state(fromSnapshot), state(chain));
});
