// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import test from 'node:test';

import { addressBytes, base58, PROGRAM } from './codec.mjs';
import { computeBudget, fee } from './fee.mjs';
import { decodeTransaction, isWritable, memos, parseMessage, parseTransaction } from './message.mjs';
import { newKey, transfer, wire } from './testing.mjs';

const payer = newKey();
const blockhash = newKey().address;

test('a transfer is read as it was written', () => {
  const to = newKey().address;
  const tx = transfer(payer, to, 5n, blockhash);
  assert.deepEqual(tx.message.keys, [payer.address, to, PROGRAM.system]);
  assert.equal(tx.message.blockhash, blockhash);
  assert.equal(tx.message.version, 'legacy');
  assert.deepEqual([0, 1, 2].map((i) => isWritable(tx.message, i)), [true, true, false]);
  assert.deepEqual(decodeTransaction(Buffer.from(tx.raw).toString('base64'), 'base64').id, tx.id);
  assert.deepEqual(decodeTransaction(base58(tx.raw)).signature, tx.signature);
  assert.deepEqual(parseMessage(tx.message.bytes).keys, tx.message.keys);
});

test('every truncation, and any byte too many, is refused', () => {
  const { raw } = transfer(payer, newKey().address, 5n, blockhash);
  for (let size = 0; size < raw.length; size++) assert.throws(() => parseTransaction(raw.subarray(0, size)), { code: -32602 });
  assert.throws(() => parseTransaction(Uint8Array.from([...raw, 0])), { code: -32602 });
  assert.throws(() => parseTransaction(new Uint8Array(1233)), /too large/);
});

test('what a node does not sanitize is refused', () => {
  const start = 1 + 64;
  const broken = {
    'no signer': [start, 0],
    'more signers than signatures': [start, 2],
    'a read-only payer': [start + 1, 1],
    'more read-only keys than keys': [start + 2, 3],
    'an unknown version': [start, 0x81],
    'a payer as the program': [start + 4 + 3 * 32 + 32 + 1, 0],
    'a program that is not there': [start + 4 + 3 * 32 + 32 + 1, 3],
    'an account that is not there': [start + 4 + 3 * 32 + 32 + 3, 9],
  };
  for (const [name, [at, value]] of Object.entries(broken)) {
    const raw = Uint8Array.from(transfer(payer, newKey().address, 5n, blockhash).raw);
    raw[at] = value;
    assert.throws(() => parseTransaction(raw), { code: -32602 }, name);
  }
});

test('a versioned transaction is read with its lookups', () => {
  const { raw } = transfer(payer, newKey().address, 5n, blockhash);
  const table = newKey().address;
  const versioned = Buffer.concat([
    raw.subarray(0, 65), Buffer.from([0x80]), raw.subarray(65),
    Buffer.from([1]), addressBytes(table), Buffer.from([2, 4, 5, 1, 6]),
  ]);
  const { message } = parseTransaction(new Uint8Array(versioned));
  assert.equal(message.version, 0);
  assert.deepEqual(message.lookups, [{ accountKey: table, writableIndexes: [4, 5], readonlyIndexes: [6] }]);
  assert.deepEqual([3, 4, 5].map((i) => isWritable(message, i, 2)), [true, true, false]);
});

test('memos, compute budgets and fees are read', () => {
  const limit = Buffer.from([2, 0x20, 0x4e, 0, 0]); // 20000 units
  const price = Buffer.from([3, 0x50, 0xc3, 0, 0, 0, 0, 0, 0]); // 50000 micro-lamports
  const { message } = parseTransaction(wire(payer, blockhash, [PROGRAM.computeBudget, PROGRAM.memo, PROGRAM.ed25519], 3, [
    { program: 1, accounts: [], data: limit },
    { program: 1, accounts: [], data: price },
    { program: 2, accounts: [0], data: Buffer.from('hello') },
    { program: 3, accounts: [], data: Buffer.from([2, 0]) },
  ]));
  assert.deepEqual(memos(message), ['hello']);
  assert.deepEqual(computeBudget(message), { units: 20_000n, price: 50_000n });
  assert.equal(fee(message), 3n * 5000n + 1000n);
});
