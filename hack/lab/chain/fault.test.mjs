// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import test from 'node:test';

import { Faults } from './fault.mjs';

test('a rule applies to its requests, after its skips, as often as it may', () => {
  const faults = new Faults();
  faults.add({ action: 'drop', method: 'sendTransaction', account: 'a', memo: 'm', skip: 1, times: 2 });
  const about = { keys: ['a', 'b'], memo: 'some memo' };
  assert.equal(faults.match('getSlot', about), null);
  assert.equal(faults.match('sendTransaction', { keys: ['b'], memo: 'm' }), null);
  assert.equal(faults.match('sendTransaction', { keys: ['a'], memo: '' }), null);
  const hits = [1, 2, 3, 4].map(() => faults.match('sendTransaction', about) !== null);
  assert.deepEqual(hits, [false, true, true, false]);
});

test('rules for notifications and rules for requests do not meet', () => {
  const faults = new Faults();
  faults.add({ action: 'lose', times: -1 });
  faults.add({ action: 'reset', times: -1 });
  assert.equal(faults.match('ws:slot').action, 'lose');
  assert.equal(faults.match('getSlot').action, 'reset');
});

test('rules are cleared one by one or all at once', () => {
  const faults = new Faults();
  const [first] = [faults.add({ action: 'reset' }), faults.add({ action: 'hang' }), faults.add({ action: 'null' })];
  faults.clear(first);
  assert.deepEqual(faults.rules.map((rule) => rule.action), ['hang', 'null']);
  faults.clear();
  assert.deepEqual(faults.rules, []);
});

test('a wrong rule is refused', () => {
  const faults = new Faults();
  for (const rule of [undefined, {}, { action: 'toString' }, { action: 'drop', colour: 'red' }, { action: 'drop', times: 'often' }]) {
    assert.throws(() => faults.add(/** @type {any} */ (rule)), { code: -32602 });
  }
});
