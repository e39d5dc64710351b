// SPDX-License-Identifier: Apache-2.0

import assert from 'node:assert/strict';
import test from 'node:test';

import { parseRequest, stringify } from './json.mjs';

test('ids come back as they were written', () => {
  for (const id of ['18446744073709551615', '-1', '1.5', '1e3', '"7"', '"id"', 'null']) {
    assert.equal(stringify(parseRequest(`{"a":"b","id" : ${id}}`).id), id);
  }
  assert.equal(stringify(parseRequest('[{"id":18446744073709551615},{"id":18446744073709551614}]')),
    '[{"id":18446744073709551615},{"id":18446744073709551614}]');
});

test('text that looks like an id is left alone', () => {
  const text = String.raw`{"params":["\"id\":18446744073709551615","id","x"],"id":1}`;
  assert.equal(parseRequest(text).params[0], '"id":18446744073709551615');
});

test('values are written as JSON, bigints as numbers', () => {
  const value = { a: 18446744073709551615n, b: [1, 'x"y', null, undefined, true], c: undefined, d: { e: {} } };
  assert.equal(stringify(value), String.raw`{"a":18446744073709551615,"b":[1,"x\"y",null,null,true],"d":{"e":{}}}`);
});
