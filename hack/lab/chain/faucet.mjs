// SPDX-License-Identifier: Apache-2.0

/**
 * @file The faucet: an account with lamports from the first block on, that pays airdrops by ordinary transactions.
 */

import { createPrivateKey, createPublicKey, randomUUID, sign } from 'node:crypto';

import { addressBytes, base58, PROGRAM, sha256 } from './codec.mjs';
import { parseTransaction } from './message.mjs';

/** What the faucet starts with: small enough that every balance of the chain is exact in JavaScript's numbers. */
export const FAUCET_LAMPORTS = 4_000_000_000_000_000n;

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
const TRANSFER = 2;

export class Faucet {
  /** @param {string} genesis The genesis hash; the faucet's key follows from it. */
  constructor(genesis) {
    const seed = sha256('faucet', addressBytes(genesis));
    this.key = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' });
    const { x } = createPublicKey(this.key).export({ format: 'jwk' });
    this.address = base58(Buffer.from(x, 'base64url'));
  }

  /**
   * Makes a transaction that pays an airdrop. A random memo keeps equal airdrops apart.
   *
   * @param {string} to
   * @param {bigint} lamports
   * @param {string} blockhash
   * @returns {import('./message.mjs').Transaction}
   */
  pay(to, lamports, blockhash) {
    const amount = Buffer.alloc(12);
    amount.writeUInt32LE(TRANSFER, 0);
    amount.writeBigUInt64LE(lamports, 4);
    const memo = Buffer.from(`airdrop ${randomUUID()}`);
    const keys = [this.address, to, PROGRAM.system, PROGRAM.memo].map(addressBytes);
    const message = Buffer.concat([
      Buffer.from([1, 0, 2, keys.length]), ...keys, addressBytes(blockhash),
      Buffer.from([2, 2, 2, 0, 1, amount.length]), amount,
      Buffer.from([3, 0, memo.length]), memo,
    ]);
    return parseTransaction(Buffer.concat([Buffer.from([1]), sign(null, message, this.key), message]));
  }
}
