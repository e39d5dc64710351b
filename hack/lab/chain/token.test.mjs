// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import test from 'node:test';

import { PROGRAM } from './codec.mjs';
import { tokenAccount, tokenMint, uiAmount } from './token.mjs';

test('amounts are written without floating point', () => {
  const cases = [
    [0n, 0, '0'], [0n, 8, '0'], [1n, 8, '0.00000001'], [100n, 2, '1'], [150n, 2, '1.5'], [1005n, 0, '1005'],
    [18446744073709551615n, 6, '18446744073709.551615'],
  ];
  for (const [amount, decimals, text] of cases) assert.equal(uiAmount(amount, decimals).uiAmountString, text);
});

test('only initialized accounts of a token program are token accounts', () => {
  const data = new Uint8Array(165);
  data[64] = 7;
  data[108] = 1;
  const account = { owner: PROGRAM.token, data, lamports: 1n, executable: false };
  assert.equal(tokenAccount(account).amount, 7n);
  assert.equal(tokenAccount({ ...account, owner: PROGRAM.system }), null);
  assert.equal(tokenAccount({ ...account, data: data.subarray(1) }), null);
  assert.equal(tokenAccount({ ...account, data: new Uint8Array(165) }), null);
  assert.equal(tokenAccount(null), null);
  assert.equal(tokenMint(account), null);
});

test('mints are told from accounts, with extensions too', () => {
  const plain = new Uint8Array(82);
  plain[44] = 6;
  plain[45] = 1;
  const extended = new Uint8Array(200);
  extended.set(plain);
  extended[165] = 1;
  const mint = (data) => tokenMint({ owner: PROGRAM.token2022, data, lamports: 1n, executable: false });
  assert.equal(mint(plain).decimals, 6);
  assert.equal(mint(extended).decimals, 6);
  extended[165] = 2;
  assert.equal(mint(extended), null);
});
