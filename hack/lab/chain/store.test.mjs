// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'node:test';

import { packAccounts, Store, unpackAccounts } from './store.mjs';

/** A folder that the test's end removes. */
function folder(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bourse-chain-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  return dir;
}

test('lines after the snapshot come back, lines before it do not', (t) => {
  const dir = folder(t);
  const store = new Store(dir);
  assert.equal(store.load(), null);
  store.snapshot({ state: 1 });
  store.append({ n: 1 });
  store.append({ n: 2 });
  assert.deepEqual(new Store(dir).load(), { snapshot: { state: 1 }, lines: [{ sequence: 1, n: 1 }, { sequence: 2, n: 2 }] });

  const journal = fs.readFileSync(path.join(dir, 'journal.jsonl'));
  store.snapshot({ state: 2 });
  fs.writeFileSync(path.join(dir, 'journal.jsonl'), journal); // as if it had died before the journal was emptied
  assert.deepEqual(new Store(dir).load(), { snapshot: { state: 2 }, lines: [] });
});

test('a torn last line is left out', (t) => {
  const dir = folder(t);
  const store = new Store(dir);
  store.snapshot({});
  store.append({ n: 1 });
  fs.appendFileSync(path.join(dir, 'journal.jsonl'), '{"sequence":2,"n"');
  assert.deepEqual(new Store(dir).load().lines, [{ sequence: 1, n: 1 }]);
});

test('a missing line and another format are reported', (t) => {
  const dir = folder(t);
  const store = new Store(dir);
  store.snapshot({});
  fs.appendFileSync(path.join(dir, 'journal.jsonl'), '{"sequence":2}\n');
  assert.throws(() => new Store(dir).load(), /line 2 follows line 0/);
  fs.writeFileSync(path.join(dir, 'snapshot.json'), '{"format":99}');
  assert.throws(() => new Store(dir).load(), /format 99/);
});

test('accounts survive packing', () => {
  const accounts = new Map([
    ['a', { lamports: 18446744073709551615n, data: Uint8Array.of(0, 255), owner: 'o', executable: true }],
    ['b', null],
  ]);
  assert.deepEqual(unpackAccounts(JSON.parse(JSON.stringify(packAccounts(accounts)))), accounts);
});
