// SPDX-License-Identifier: Apache-2.0

/**
 * @file JSON-RPC methods about transactions: simulated, sent, and found again.
 */

import { base58 } from './codec.mjs';
import { CODE, invalidParams, RpcError } from './errors.mjs';
import { FAUCET_LAMPORTS } from './faucet.mjs';
import { MAX_AGE } from './ledger.mjs';
import { decodeTransaction, parseTransaction } from './message.mjs';
import { address, atMost, commitmentOf, encodeAccount, landedCommitment, signature, withContext } from './query.mjs';
import { preflight, simulate } from './simulate.mjs';

const MAX_STATUSES = 256;
const MAX_HISTORY = 1000;

/** @param {Uint8Array} raw */
function transactionJson(raw) {
  const { signatures, message } = parseTransaction(raw);
  const { header } = message;
  return {
    signatures: signatures.map(base58),
    message: {
      header: {
        numRequiredSignatures: header.signers,
        numReadonlySignedAccounts: header.readonlySigned,
        numReadonlyUnsignedAccounts: header.readonlyUnsigned,
      },
      accountKeys: message.keys,
      recentBlockhash: message.blockhash,
      instructions: message.instructions.map((ix) => ({
        programIdIndex: ix.programIdIndex, accounts: ix.accounts, data: base58(ix.data), stackHeight: 1,
      })),
      ...(message.version === 0 ? { addressTableLookups: message.lookups } : {}),
    },
  };
}

/**
 * @param {import('./ledger.mjs').Entry} entry
 * @param {string} encoding
 */
function encodeEntry(entry, encoding) {
  const raw = new Uint8Array(Buffer.from(entry.raw, 'base64'));
  switch (encoding) {
    case 'base64': return [entry.raw, 'base64'];
    case 'base58': return [base58(raw), 'base58'];
    case 'json': return transactionJson(raw);
    default: throw invalidParams(`this chain does not encode transactions as ${encoding}; use base64 or json`);
  }
}

/**
 * @param {{accounts: Map<string, import('./runtime.mjs').Account>}} result
 * @param {any} wanted
 */
function simulatedAccounts(result, wanted) {
  if (!wanted) return null;
  const options = { encoding: wanted.encoding ?? 'base64' };
  return wanted.addresses.map((key) => encodeAccount(result.accounts.get(address(key)) ?? null, options));
}

/** @type {Record<string, (chain: import('./chain.mjs').Chain, ...params: any[]) => any>} */
export const transactionMethods = {
  simulateTransaction(chain, text, options) {
    const commitment = commitmentOf(chain, options);
    const tx = decodeTransaction(text, options?.encoding);
    const replace = options?.replaceRecentBlockhash === true;
    const verify = options?.sigVerify === true;
    if (replace && verify) throw invalidParams('sigVerify may not be used with replaceRecentBlockhash');
    if (!replace && !chain.current(tx.message, commitment)) {
      return withContext(chain, commitment, {
        err: 'BlockhashNotFound', logs: [], accounts: null, unitsConsumed: 0, returnData: null, innerInstructions: null,
      });
    }
    const result = simulate(chain, tx, { commitment, verify });
    const { head } = chain.ledger;
    return withContext(chain, commitment, {
      err: result.err,
      logs: result.logs,
      accounts: result.err === null ? simulatedAccounts(result, options?.accounts) : null,
      unitsConsumed: result.units,
      returnData: result.returnData,
      innerInstructions: options?.innerInstructions ? result.inner : null,
      ...(replace ? { replacementBlockhash: { blockhash: head.hash, lastValidBlockHeight: head.height + MAX_AGE } } : {}),
    });
  },

  getSignatureStatuses(chain, signatures, options) {
    const search = options?.searchTransactionHistory === true;
    const statuses = atMost(signatures, MAX_STATUSES).map((text) => chain.ledger.status(signature(text), search));
    return withContext(chain, 'processed', statuses);
  },

  getSignaturesForAddress(chain, key, options) {
    const commitment = landedCommitment(chain, options);
    const limit = options?.limit ?? MAX_HISTORY;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_HISTORY) throw invalidParams(`Invalid limit; max ${MAX_HISTORY}`);
    const before = options?.before ? signature(options.before) : undefined;
    const until = options?.until ? signature(options.until) : undefined;
    return chain.ledger.history(address(key), { commitment, before, until, limit }).map((entry) => ({
      signature: entry.signature,
      slot: entry.slot,
      err: entry.err,
      memo: entry.memo,
      blockTime: entry.time,
      confirmationStatus: chain.ledger.level(entry),
    }));
  },

  getTransaction(chain, text, given) {
    const options = typeof given === 'string' ? { encoding: given } : given;
    const commitment = landedCommitment(chain, options);
    const entry = chain.ledger.find(signature(text), commitment);
    if (!entry) return null;
    const supported = options?.maxSupportedTransactionVersion;
    if (entry.version !== 'legacy' && (supported === undefined || supported < entry.version)) {
      throw new RpcError(CODE.unsupportedVersion, `Transaction version (${entry.version}) is not supported by the requesting client. `
        + `Please try the request again with the following configuration parameter: "maxSupportedTransactionVersion": ${entry.version}`);
    }
    return {
      slot: entry.slot,
      blockTime: entry.time,
      transaction: encodeEntry(entry, options?.encoding ?? 'json'),
      meta: entry.meta,
      ...(supported === undefined ? {} : { version: entry.version }),
    };
  },

  requestAirdrop(chain, key, lamports) {
    if (!Number.isSafeInteger(lamports) || lamports < 0 || lamports > FAUCET_LAMPORTS) {
      throw invalidParams('expected lamports that the faucet has');
    }
    return chain.airdrop(address(key), BigInt(lamports)).signature;
  },
};

/**
 * Takes a transaction in, as sendTransaction does.
 *
 * @param {import('./chain.mjs').Chain} chain
 * @param {import('./message.mjs').Transaction} tx
 * @param {any} options
 * @param {import('./fault.mjs').Rule | null} fault What goes wrong on its way to the leaders.
 * @returns {string} Its signature.
 */
export function sendTransaction(chain, tx, options, fault) {
  const commitment = commitmentOf(chain, {
    commitment: options?.preflightCommitment, minContextSlot: options?.minContextSlot,
  });
  if (options?.skipPreflight !== true) preflight(chain, tx, commitment);
  if (fault?.action !== 'drop') chain.submit(tx, fault?.action === 'delay' ? fault.slots ?? 10 : 0);
  return tx.signature;
}
