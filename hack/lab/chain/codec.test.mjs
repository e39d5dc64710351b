// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';

import { addressBytes, base58, fromBase58 } from './codec.mjs';

test('base58 agrees with known values', () => {
  const cases = {
    '': [],
    1: [0],
    11: [0, 0],
    '2g': [97],
    StV1DL6CwTryKyV: [...Buffer.from('hello world')],
    '11111111111111111111111111111111': new Array(32).fill(0),
  };
  for (const [text, bytes] of Object.entries(cases)) {
    assert.equal(base58(Uint8Array.from(bytes)), text);
    assert.deepEqual([...fromBase58(text)], bytes);
  }
});

test('base58 brings any bytes back', () => {
  for (let size = 0; size < 100; size++) {
    const bytes = randomBytes(size);
    bytes.fill(0, 0, size % 5);
    assert.deepEqual(Buffer.from(fromBase58(base58(bytes))), bytes);
  }
});

test('text that is not base58, and addresses of another length, are refused', () => {
  for (const text of ['0', 'O', 'I', 'l', 'ä', '+', ' ']) assert.throws(() => fromBase58(text), { code: -32602 });
  for (const size of [0, 31, 33, 64]) assert.throws(() => addressBytes(base58(new Uint8Array(size).fill(1))), { code: -32602 });
  assert.throws(() => fromBase58(/** @type {any} */ (7)), { code: -32602 });
});
