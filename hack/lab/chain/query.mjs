// SPDX-License-Identifier: Apache-2.0

/**
 * @file What the methods share: options of a request, answers with a context, and encoded accounts.
 */

import { addressBytes, base58, fromBase58, PROGRAM } from './codec.mjs';
import { CODE, invalidParams, RpcError } from './errors.mjs';
import { RENT_EPOCH } from './runtime.mjs';

const BASE58_LIMIT = 128;

/**
 * Reads the commitment of a request and checks that the chain has come as far as the caller has seen.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {any} options
 * @returns {import('./ledger.mjs').Commitment}
 */
export function commitmentOf(chain, options) {
  const commitment = options?.commitment ?? 'finalized';
  if (!['processed', 'confirmed', 'finalized'].includes(commitment)) throw invalidParams(`Invalid commitment ${commitment}`);
  const { slot } = chain.ledger.at(commitment);
  if (options?.minContextSlot !== undefined && options.minContextSlot !== null && options.minContextSlot > slot) {
    throw new RpcError(CODE.minContextSlot, 'Minimum context slot has not been reached', { contextSlot: slot });
  }
  return commitment;
}

/**
 * As {@link commitmentOf}, for methods about landed transactions.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {any} options
 */
export function landedCommitment(chain, options) {
  const commitment = commitmentOf(chain, options);
  if (commitment === 'processed') throw invalidParams('Method does not support commitment below `confirmed`');
  return commitment;
}

/**
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./ledger.mjs').Commitment} commitment
 * @param {unknown} value
 */
export function withContext(chain, commitment, value) {
  return { context: { slot: chain.ledger.at(commitment).slot, apiVersion: '4.2.0' }, value };
}

/**
 * @param {unknown} text
 * @returns {string} The same, after a check that it is an address.
 */
export function address(text) {
  if (typeof text !== 'string') throw invalidParams('expected an address');
  addressBytes(text);
  return text;
}

/**
 * @param {unknown} text
 * @returns {string} The same, after a check that it is a signature.
 */
export function signature(text) {
  if (typeof text !== 'string' || fromBase58(text).length !== 64) throw invalidParams('WrongSize');
  return text;
}

/**
 * @param {unknown} list
 * @param {number} max
 * @returns {any[]}
 */
export function atMost(list, max) {
  if (!Array.isArray(list)) throw invalidParams('expected a list');
  if (list.length > max) throw invalidParams(`Too many inputs provided; max ${max}`);
  return list;
}

/**
 * @param {Uint8Array} data
 * @param {any} options
 */
function encodeData(data, options) {
  const { offset = 0, length = data.length } = options?.dataSlice ?? {};
  const slice = data.subarray(offset, offset + length);
  const encoding = options?.encoding ?? 'base58';
  if (encoding === 'base64') return [Buffer.from(slice).toString('base64'), 'base64'];
  if (encoding !== 'base58') throw invalidParams(`this chain does not encode accounts as ${encoding}; use base64`);
  if (slice.length > BASE58_LIMIT) {
    const limit = `less than ${BASE58_LIMIT} bytes, please use Base64 encoding.`;
    throw new RpcError(CODE.invalidRequest, `Encoded binary (base 58) data should be ${limit}`);
  }
  return [base58(slice), 'base58'];
}

/**
 * @param {import('./runtime.mjs').Account | null} account
 * @param {any} options
 */
export function encodeAccount(account, options) {
  if (account === null) return null;
  return {
    lamports: account.lamports,
    owner: account.owner,
    data: encodeData(account.data, options),
    executable: account.executable,
    rentEpoch: RENT_EPOCH,
    space: account.data.length,
  };
}

/** What a subscriber gets for an account that is gone. */
export const NO_ACCOUNT = Object.freeze({ lamports: 0n, owner: PROGRAM.system, data: new Uint8Array(0), executable: false });
