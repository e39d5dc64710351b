// SPDX-License-Identifier: Apache-2.0

/**
 * @file JSON without loss: request ids are carried as the text they came in, and bigints are written as numbers.
 *
 * JavaScript's numbers are exact to 2^53 only, but clients choose random 64-bit ids, and a rent epoch is 2^64 - 1.
 */

/** A number kept as the text that it was written in. */
export class RawNumber {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

/**
 * Parses a request (or a batch), with numeric ids as {@link RawNumber}.
 *
 * A quoted `id` followed by a colon can only be a key: inside a string the closing quote would be escaped.
 *
 * @param {string} text
 * @returns {any}
 */
export function parseRequest(text) {
  const marked = text.replace(/"id"(\s*):(\s*)(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)/g, '"id"$1:$2{"$number":"$3"}');
  return JSON.parse(marked, (key, value) => (
    key === 'id' && typeof value?.$number === 'string' ? new RawNumber(value.$number) : value));
}

/**
 * @param {any} value
 * @returns {string}
 */
export function stringify(value) {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof RawNumber) return value.text;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (typeof value.toJSON === 'function') return stringify(value.toJSON());
  if (Array.isArray(value)) return `[${value.map(stringify).join(',')}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .map(([key, field]) => `${JSON.stringify(key)}:${stringify(field)}`);
  return `{${fields.join(',')}}`;
}
