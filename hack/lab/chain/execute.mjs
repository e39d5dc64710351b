// SPDX-License-Identifier: Apache-2.0

/**
 * @file Puts one transaction into the open slot and writes down what it did, as nodes report it.
 */

import { addressBytes, base58, isWritable, memos, PROGRAM, sha256, view } from './codec.mjs';
import { neverLands } from './errors.mjs';
import { computeBudget, fee } from './fee.mjs';
import { nonceState } from './runtime.mjs';
import { tokenAccount, tokenMint, uiAmount } from './token.mjs';

const ADVANCE_NONCE = 4;
const NONCE_OFFSET = 40;

/**
 * The value that a durable nonce advances to in the open slot.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 */
function nextNonce(runtime) {
  return sha256('DURABLE_NONCE', addressBytes(runtime.nonceSeed));
}

/**
 * Finds the nonce account of a durable-nonce transaction that is valid now.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {import('./codec.mjs').Message} message
 * @returns {string | null} Its address; null when the transaction is no such one.
 */
export function nonceAccount(runtime, message) {
  const [first] = message.instructions;
  if (!first || message.keys[first.programIdIndex] !== PROGRAM.system || first.accounts.length === 0) return null;
  if (first.data.length < 4 || view(first.data).getUint32(0, true) !== ADVANCE_NONCE) return null;
  const [index] = first.accounts;
  const key = message.keys[index];
  if (key === undefined || !isWritable(message, index)) return null;
  const state = nonceState(runtime.get(key));
  if (!state || state.nonce !== message.blockhash || state.nonce === base58(nextNonce(runtime))) return null;
  const signed = first.accounts.some((i) => i < message.header.signers && message.keys[i] === state.authority);
  return signed ? key : null;
}

/**
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {string[]} keys
 * @param {(key: string) => import('./runtime.mjs').Account | null} get
 */
function tokenBalances(runtime, keys, get) {
  return keys.flatMap((key, accountIndex) => {
    const account = get(key);
    const token = tokenAccount(account);
    if (!token) return [];
    const decimals = tokenMint(runtime.get(token.mint))?.decimals ?? 0;
    return [{
      accountIndex,
      mint: token.mint,
      owner: token.owner,
      programId: account.owner,
      uiTokenAmount: uiAmount(token.amount, decimals),
    }];
  });
}

/**
 * Reads balances of all keys; only writable accounts can differ between two calls.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {string[]} keys
 */
function balances(runtime, keys) {
  const accounts = new Map(keys.map((key) => [key, runtime.get(key)]));
  const get = (key) => accounts.get(key) ?? null;
  return {
    accounts,
    lamports: keys.map((key) => Number(get(key)?.lamports ?? 0n)),
    tokens: tokenBalances(runtime, keys, get),
  };
}

/**
 * Advances the nonce of a transaction that failed: a node keeps that effect, the runtime rolls it back.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {string} key
 */
function advanceNonce(runtime, key) {
  const account = runtime.get(key);
  const data = Uint8Array.from(account.data);
  data.set(nextNonce(runtime), NONCE_OFFSET);
  runtime.put(key, { ...account, data });
}

/**
 * Executes a transaction in the open slot.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./codec.mjs').Transaction} tx
 * @returns {import('./ledger.mjs').Entry | null} Null when it cannot be in a block, so that it had no effect.
 */
export function execute(chain, tx) {
  const { runtime, ledger } = chain;
  const { message } = tx;
  const loaded = runtime.lookup(message);
  if (!loaded) return null;
  const nonce = ledger.fresh(message.blockhash) ? null : nonceAccount(runtime, message);
  const keys = [...message.keys, ...loaded.writable, ...loaded.readonly];
  const before = balances(runtime, keys);
  const result = runtime.send(tx.raw);
  if (neverLands(result.err)) return null;
  keys.forEach((key, index) => {
    if (isWritable(message, index, loaded.writable.length)) ledger.remember(chain.slot, key, before.accounts.get(key));
  });
  if (result.err !== null && nonce !== null) advanceNonce(runtime, nonce);
  const after = balances(runtime, keys);
  return {
    signature: tx.signature,
    id: tx.id,
    slot: chain.slot,
    height: ledger.head.height + 1,
    time: chain.time,
    err: result.err,
    raw: Buffer.from(tx.raw).toString('base64'),
    version: message.version,
    keys,
    price: Number(computeBudget(message).price),
    memo: memos(message).map((text) => `[${Buffer.byteLength(text)}] ${text}`).join('; ') || null,
    meta: {
      err: result.err,
      status: result.err === null ? { Ok: null } : { Err: result.err },
      fee: Number(fee(message)),
      preBalances: before.lamports,
      postBalances: after.lamports,
      preTokenBalances: before.tokens,
      postTokenBalances: after.tokens,
      innerInstructions: result.inner,
      logMessages: result.logs,
      computeUnitsConsumed: result.units,
      loadedAddresses: loaded,
      rewards: [],
      ...(result.returnData ? { returnData: result.returnData } : {}),
    },
  };
}
