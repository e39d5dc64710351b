// SPDX-License-Identifier: Apache-2.0

/**
 * @file What the tests share: keys, and transactions signed by them.
 */

import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';

import { addressBytes, base58, PROGRAM } from './codec.mjs';
import { parseTransaction } from './message.mjs';

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Makes a key that nobody else has. */
export function newKey() {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, randomBytes(32)]), format: 'der', type: 'pkcs8' });
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  return { key, address: base58(Buffer.from(x, 'base64url')) };
}

/**
 * The bytes of a transaction with one signer.
 *
 * @param {{key: import('node:crypto').KeyObject, address: string}} payer
 * @param {string} blockhash
 * @param {string[]} others The keys after the payer's.
 * @param {number} readonly How many of them, at the end, are read-only.
 * @param {{program: number, accounts: number[], data: Uint8Array}[]} instructions
 */
export function wire(payer, blockhash, others, readonly, instructions) {
  const keys = [payer.address, ...others];
  const message = Buffer.concat([
    Buffer.from([1, 0, readonly, keys.length]), ...keys.map(addressBytes), addressBytes(blockhash),
    Buffer.from([instructions.length]),
    ...instructions.flatMap(({ program, accounts, data }) => [
      Buffer.from([program, accounts.length, ...accounts, data.length]), data,
    ]),
  ]);
  return new Uint8Array(Buffer.concat([Buffer.from([1]), sign(null, message, payer.key), message]));
}

/**
 * A transfer of lamports.
 *
 * @param {{key: import('node:crypto').KeyObject, address: string}} from
 * @param {string} to
 * @param {bigint} lamports
 * @param {string} blockhash
 */
export function transfer(from, to, lamports, blockhash) {
  const data = Buffer.alloc(12);
  data.writeUInt32LE(2, 0);
  data.writeBigUInt64LE(lamports, 4);
  return parseTransaction(wire(from, blockhash, [to, PROGRAM.system], 1, [{ program: 2, accounts: [0, 1], data }]));
}
