// SPDX-License-Identifier: Apache-2.0

/**
 * @file Transactions tried without effect: simulations, and what a node tries before it accepts a transaction.
 */

import { CODE, describe, RpcError } from './errors.mjs';
import { loadFailure } from './execute.mjs';

/**
 * Runs something on the accounts of a commitment level. Programs and time are always the newest.
 *
 * @template T
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Message} message
 * @param {import('./ledger.mjs').Commitment} commitment
 * @param {() => T} run
 * @returns {T}
 */
function asOf({ runtime, ledger }, message, commitment, run) {
  const loaded = runtime.lookup(message);
  const now = new Map();
  try {
    for (const key of [...message.keys, ...loaded?.writable ?? [], ...loaded?.readonly ?? []]) {
      const old = ledger.difference(key, commitment);
      const account = runtime.get(key);
      if (old === undefined || old?.executable || account?.executable || now.has(key)) continue;
      now.set(key, account);
      runtime.put(key, old);
    }
    return run();
  } finally {
    runtime.putAll(now);
  }
}

/**
 * Simulates a transaction; its blockhash is not looked at.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Transaction} tx
 * @param {{commitment: import('./ledger.mjs').Commitment, verify: boolean}} options
 */
export function simulate(chain, tx, { commitment, verify }) {
  const result = asOf(chain, tx.message, commitment, () => chain.runtime.simulate(tx.raw, verify));
  if (result.err === 'SignatureFailure') throw new RpcError(CODE.signature, 'Transaction signature verification failure');
  return { ...result, err: loadFailure(chain.runtime, tx.message, result.err) };
}

/**
 * Does what a node does before it accepts a transaction, and throws what it would answer.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Transaction} tx
 * @param {import('./ledger.mjs').Commitment} commitment
 */
export function preflight(chain, tx, commitment) {
  let { err, logs, units } = simulate(chain, tx, { commitment, verify: true });
  if (chain.ledger.ids.has(tx.id)) [err, logs, units] = ['AlreadyProcessed', [], 0];
  else if (!chain.current(tx.message, commitment)) [err, logs, units] = ['BlockhashNotFound', [], 0];
  if (err === null) return;
  throw new RpcError(CODE.preflight, `Transaction simulation failed: ${describe(err)}`, {
    err, logs, accounts: null, unitsConsumed: units, returnData: null, innerInstructions: null,
  });
}
