// SPDX-License-Identifier: Apache-2.0

/**
 * @file Puts one transaction into the open slot and writes down what it did, as nodes report it.
 */

import { addressBytes, base58, PROGRAM, sha256, view } from './codec.mjs';
import { computeBudget, fee } from './fee.mjs';
import { isWritable, memos } from './message.mjs';
import { nonceState } from './runtime.mjs';
import { tokenAccount, tokenMint, uiAmount } from './token.mjs';

const ADVANCE_NONCE = 4;
const NONCE_OFFSET = 40;

/** Failures to load that a node takes into a block for the fee alone; the runtime refuses them and takes no fee. */
const FEE_ONLY = new Set(['ProgramAccountNotFound', 'InvalidProgramForExecution', 'MaxLoadedAccountsDataSizeExceeded']);

/**
 * The durable nonce that follows from a blockhash.
 *
 * @param {string} blockhash
 */
function durableNonce(blockhash) {
  return sha256('DURABLE_NONCE', addressBytes(blockhash));
}

/**
 * Finds the nonce account of a durable-nonce transaction that is valid now.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Message} message
 * @returns {string | null} Its address; null when the transaction is no such one.
 */
export function nonceAccount({ runtime, ledger }, message) {
  const [first] = message.instructions;
  if (!first || message.keys[first.programIdIndex] !== PROGRAM.system || first.accounts.length === 0) return null;
  if (first.data.length < 4 || view(first.data).getUint32(0, true) !== ADVANCE_NONCE) return null;
  const [index] = first.accounts;
  const key = message.keys[index];
  if (key === undefined || !isWritable(message, index)) return null;
  const state = nonceState(runtime.get(key));
  if (state?.nonce !== message.blockhash || state.nonce === base58(durableNonce(ledger.head.hash))) return null;
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
 * Makes nonces follow from the chain's blockhash. The runtime has one blockhash of its own for ever, so a nonce that it
 * has just written is known by it. The nonce of a failed transaction advances too: the runtime has rolled that back.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {string[]} keys The accounts that a success may have written.
 * @param {string | null} failed The nonce account of a failure.
 */
function settleNonces({ runtime, ledger }, keys, failed) {
  const written = base58(durableNonce(runtime.blockhash));
  const fresh = keys.filter((key) => nonceState(runtime.get(key))?.nonce === written);
  for (const key of failed === null ? fresh : [failed]) {
    const account = runtime.get(key);
    const data = Uint8Array.from(account.data);
    data.set(durableNonce(ledger.head.hash), NONCE_OFFSET);
    runtime.put(key, { ...account, data });
  }
}

/**
 * Names a failure to load as nodes do: the runtime does not tell a missing program from one that cannot run.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {import('./message.mjs').Message} message
 * @param {string | object | null} err
 */
export function loadFailure(runtime, message, err) {
  if (err !== 'InvalidProgramForExecution') return err;
  const missing = message.instructions.some((ix) => runtime.get(message.keys[ix.programIdIndex]) === null);
  return missing ? 'ProgramAccountNotFound' : err;
}

/**
 * Makes sure that the fee of a failed transaction is paid.
 *
 * @param {import('./runtime.mjs').Runtime} runtime
 * @param {import('./message.mjs').Message} message
 * @param {string | object} err
 * @param {import('./runtime.mjs').Account | null} payer The payer's account before the transaction.
 * @returns {boolean} False when the transaction cannot be in a block.
 */
function chargeFailure(runtime, message, err, payer) {
  if (payer === null) return false;
  const [key] = message.keys;
  const now = runtime.get(key);
  if (now === null || now.lamports !== payer.lamports) return true; // the runtime has taken the fee
  const rest = payer.lamports - fee(message);
  const exempt = rest === 0n || rest >= runtime.rent(payer.data.length);
  if (!FEE_ONLY.has(err) || rest < 0n || !exempt) return false;
  runtime.put(key, { ...payer, lamports: rest });
  return true;
}

/**
 * @param {import('./runtime.mjs').Outcome} result
 * @param {ReturnType<typeof balances>} before
 * @param {ReturnType<typeof balances>} after
 */
function report(result, before, after) {
  return {
    preBalances: before.lamports,
    postBalances: after.lamports,
    preTokenBalances: before.tokens,
    postTokenBalances: after.tokens,
    innerInstructions: result.inner,
    logMessages: result.logs,
    computeUnitsConsumed: result.units,
    rewards: [],
    ...(result.returnData ? { returnData: result.returnData } : {}),
  };
}

/**
 * Executes a transaction in the open slot.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Transaction} tx
 * @returns {import('./ledger.mjs').Entry | null} Null when it cannot be in a block, so that it had no effect.
 */
export function execute(chain, tx) {
  const { runtime, ledger } = chain;
  const { message } = tx;
  const loaded = runtime.lookup(message);
  if (!loaded) return null;
  const nonce = ledger.fresh(message.blockhash) ? null : nonceAccount(chain, message);
  const keys = [...message.keys, ...loaded.writable, ...loaded.readonly];
  const before = balances(runtime, keys);
  const result = runtime.send(tx.raw);
  const err = loadFailure(runtime, message, result.err);
  if (err !== null && !chargeFailure(runtime, message, err, before.accounts.get(message.keys[0]))) return null;
  keys.forEach((key, index) => {
    if (isWritable(message, index, loaded.writable.length)) ledger.remember(chain.slot, key, before.accounts.get(key));
  });
  settleNonces(chain, err === null ? keys : [], err === null ? null : nonce);
  return {
    signature: tx.signature,
    id: tx.id,
    slot: chain.slot,
    height: ledger.head.height + 1,
    time: chain.time,
    err,
    raw: Buffer.from(tx.raw).toString('base64'),
    version: message.version,
    keys,
    price: Number(computeBudget(message).price),
    memo: memos(message).map((text) => `[${Buffer.byteLength(text)}] ${text}`).join('; ') || null,
    meta: {
      err,
      status: err === null ? { Ok: null } : { Err: err },
      fee: Number(fee(message)),
      loadedAddresses: loaded,
      ...report(result, before, balances(runtime, keys)),
    },
  };
}
