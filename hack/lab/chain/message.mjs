// SPDX-License-Identifier: Apache-2.0

/**
 * @file The wire format of transactions: read strictly, checked once, so that later code can index without checks.
 */

import { base58, fromBase58, PROGRAM, sha256 } from './codec.mjs';
import { invalidParams } from './errors.mjs';

/** The largest wire transaction that fits a packet. */
export const PACKET_SIZE = 1232;

/** Reads the wire format in order and refuses to read past the end. */
class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.offset = 0;
  }

  /** @param {number} length */
  take(length) {
    const end = this.offset + length;
    if (end > this.bytes.length) {
      throw invalidParams('failed to deserialize transaction: unexpected end of input');
    }
    const out = this.bytes.subarray(this.offset, end);
    this.offset = end;
    return out;
  }

  byte() {
    return this.take(1)[0];
  }

  /** A compact-u16: seven bits a byte, at most three bytes, in its shortest form. */
  length() {
    let value = 0;
    for (let i = 0; i < 3; i++) {
      const byte = this.byte();
      if (i > 0 && byte === 0) throw invalidParams('failed to deserialize transaction: alias encoding of a length');
      value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        if (value > 0xffff) break;
        return value;
      }
    }
    throw invalidParams('failed to deserialize transaction: length too large');
  }

  /**
   * @template T
   * @param {() => T} item
   * @returns {T[]}
   */
  list(item) {
    return Array.from({ length: this.length() }, item);
  }

  address() {
    return base58(this.take(32));
  }
}

/**
 * @typedef {object} Instruction
 * @property {number} programIdIndex
 * @property {number[]} accounts Indexes into the transaction's keys.
 * @property {Uint8Array} data
 *
 * @typedef {object} Message
 * @property {'legacy' | 0} version
 * @property {{signers: number, readonlySigned: number, readonlyUnsigned: number}} header
 * @property {string[]} keys The static keys.
 * @property {string} blockhash
 * @property {Instruction[]} instructions
 * @property {{accountKey: string, writableIndexes: number[], readonlyIndexes: number[]}[]} lookups
 * @property {Uint8Array} bytes What the signers sign.
 *
 * @typedef {object} Transaction
 * @property {Uint8Array[]} signatures
 * @property {string} signature The first signature: the transaction's name.
 * @property {Message} message
 * @property {Uint8Array} raw
 * @property {string} id The hash of the message: what makes a duplicate.
 */

/**
 * @param {Reader} reader
 * @returns {Message}
 */
function readMessage(reader) {
  const start = reader.offset;
  let version = /** @type {'legacy' | 0} */ ('legacy');
  let signers = reader.byte();
  if (signers & 0x80) {
    if (signers !== 0x80) throw invalidParams('failed to deserialize transaction: unsupported message version');
    version = 0;
    signers = reader.byte();
  }
  const header = { signers, readonlySigned: reader.byte(), readonlyUnsigned: reader.byte() };
  const keys = reader.list(() => reader.address());
  const blockhash = reader.address();
  const instructions = reader.list(() => ({
    programIdIndex: reader.byte(),
    accounts: Array.from(reader.take(reader.length())),
    data: reader.take(reader.length()),
  }));
  const lookups = version === 'legacy' ? [] : reader.list(() => ({
    accountKey: reader.address(),
    writableIndexes: Array.from(reader.take(reader.length())),
    readonlyIndexes: Array.from(reader.take(reader.length())),
  }));
  return { version, header, keys, blockhash, instructions, lookups, bytes: reader.bytes.subarray(start, reader.offset) };
}

/**
 * Refuses what a node's sanitizer refuses, so that later code can index without checks.
 *
 * @param {Message} message
 */
function sanitize(message) {
  const { signers, readonlySigned, readonlyUnsigned } = message.header;
  const loaded = message.lookups.reduce((sum, l) => sum + l.writableIndexes.length + l.readonlyIndexes.length, 0);
  const total = message.keys.length + loaded;
  const sound = signers > 0
    && readonlySigned < signers
    && signers + readonlyUnsigned <= message.keys.length
    && total <= 256
    && message.instructions.every((ix) => ix.programIdIndex > 0
      && ix.programIdIndex < message.keys.length
      && ix.accounts.every((index) => index < total));
  if (!sound) throw invalidParams('invalid transaction: Transaction failed to sanitize accounts offsets correctly');
}

/**
 * @param {Uint8Array} bytes
 * @returns {Message}
 */
export function parseMessage(bytes) {
  const reader = new Reader(bytes);
  const message = readMessage(reader);
  if (reader.offset !== bytes.length) throw invalidParams('failed to deserialize message: trailing bytes');
  sanitize(message);
  return message;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Transaction}
 */
export function parseTransaction(bytes) {
  if (bytes.length > PACKET_SIZE) {
    throw invalidParams(`decoded VersionedTransaction too large: ${bytes.length} bytes (max: ${PACKET_SIZE} bytes)`);
  }
  const reader = new Reader(bytes);
  const signatures = reader.list(() => reader.take(64));
  const message = readMessage(reader);
  if (reader.offset !== bytes.length) throw invalidParams('failed to deserialize transaction: trailing bytes');
  sanitize(message);
  if (signatures.length !== message.header.signers) {
    throw invalidParams('invalid transaction: Transaction failed to sanitize accounts offsets correctly');
  }
  return {
    signatures,
    signature: base58(signatures[0]),
    message,
    raw: bytes,
    id: sha256(message.bytes).toString('hex'),
  };
}

/**
 * Decodes a transaction as it comes in a request.
 *
 * @param {string} text
 * @param {string} [encoding]
 * @returns {Transaction}
 */
export function decodeTransaction(text, encoding = 'base58') {
  if (typeof text !== 'string') throw invalidParams('expected an encoded transaction');
  if (encoding === 'base58') return parseTransaction(fromBase58(text));
  if (encoding !== 'base64') throw invalidParams(`unsupported encoding: ${encoding}. Supported encodings: base58, base64`);
  return parseTransaction(new Uint8Array(Buffer.from(text, 'base64')));
}

/**
 * Says whether a key of a transaction is writable.
 *
 * @param {Message} message
 * @param {number} index Into static keys, then loaded writable keys, then loaded read-only keys.
 * @param {number} loadedWritable How many writable keys came from lookup tables.
 * @returns {boolean}
 */
export function isWritable(message, index, loadedWritable = 0) {
  const { signers, readonlySigned, readonlyUnsigned } = message.header;
  const fixed = message.keys.length;
  if (index < signers) return index < signers - readonlySigned;
  if (index < fixed) return index < fixed - readonlyUnsigned;
  return index - fixed < loadedWritable;
}

/**
 * @param {Message} message
 * @returns {string[]} The texts of the memo instructions.
 */
export function memos(message) {
  return message.instructions
    .filter((ix) => [PROGRAM.memo, PROGRAM.memo1].includes(message.keys[ix.programIdIndex]))
    .map((ix) => Buffer.from(ix.data).toString());
}
