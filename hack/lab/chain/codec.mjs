// SPDX-License-Identifier: Apache-2.0

/**
 * @file The small pieces of Solana's formats: base58, addresses, hashes, and the programs known by name.
 */

import { createHash } from 'node:crypto';

import { invalidParams } from './errors.mjs';

/** The addresses of the programs that the chain must know by name. */
export const PROGRAM = Object.freeze({
  system: '11111111111111111111111111111111',
  computeBudget: 'ComputeBudget111111111111111111111111111111',
  loader: 'BPFLoader2111111111111111111111111111111111',
  upgradeableLoader: 'BPFLoaderUpgradeab1e11111111111111111111111',
  vote: 'Vote111111111111111111111111111111111111111',
  token: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA',
  token2022: 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb',
  memo1: 'Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo',
  memo: 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr',
  ed25519: 'Ed25519SigVerify111111111111111111111111111',
  secp256k1: 'KeccakSecp256k11111111111111111111111111111',
  secp256r1: 'Secp256r1SigVerify1111111111111111111111111',
});

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const DIGIT = new Map([...ALPHABET].map((letter, value) => [letter, value]));

/**
 * Converts digits from one base to another; most significant digit first.
 *
 * @param {Iterable<number>} digits
 * @param {number} from
 * @param {number} to
 * @returns {number[]}
 */
function convertBase(digits, from, to) {
  const out = [];
  for (const digit of digits) {
    let carry = digit;
    for (let i = 0; i < out.length; i++) {
      carry += out[i] * from;
      out[i] = carry % to;
      carry = Math.floor(carry / to);
    }
    while (carry > 0) {
      out.push(carry % to);
      carry = Math.floor(carry / to);
    }
  }
  return out.reverse();
}

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function base58(bytes) {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  const digits = convertBase(bytes.subarray(zeros), 256, 58);
  return '1'.repeat(zeros) + digits.map((digit) => ALPHABET[digit]).join('');
}

/**
 * @param {string} text
 * @returns {Uint8Array}
 */
export function fromBase58(text) {
  if (typeof text !== 'string') throw invalidParams('expected a base58 string');
  let zeros = 0;
  while (zeros < text.length && text[zeros] === '1') zeros++;
  const digits = [];
  for (const letter of text.slice(zeros)) {
    const digit = DIGIT.get(letter);
    if (digit === undefined) throw invalidParams('Invalid');
    digits.push(digit);
  }
  const bytes = convertBase(digits, 58, 256);
  const out = new Uint8Array(zeros + bytes.length);
  out.set(bytes, zeros);
  return out;
}

const addresses = new Map();
const ADDRESS_CACHE = 100_000;

/**
 * Decodes and checks an address; recent answers are remembered.
 *
 * @param {string} text
 * @returns {Uint8Array} 32 bytes, not to be modified.
 */
export function addressBytes(text) {
  const known = addresses.get(text);
  if (known) return known;
  const bytes = fromBase58(text);
  if (bytes.length !== 32) throw invalidParams('WrongSize');
  if (addresses.size >= ADDRESS_CACHE) addresses.clear();
  addresses.set(text, bytes);
  return bytes;
}

/**
 * @param {...(string | Uint8Array)} parts
 * @returns {Buffer}
 */
export function sha256(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/**
 * @param {Uint8Array} bytes
 * @returns {DataView}
 */
export function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
