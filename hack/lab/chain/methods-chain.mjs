// SPDX-License-Identifier: Apache-2.0

/**
 * @file JSON-RPC methods about the cluster, its blocks and its fees.
 */

import { fromBase58 } from './codec.mjs';
import { CODE, invalidParams, RpcError } from './errors.mjs';
import { fee } from './fee.mjs';
import { MAX_AGE } from './ledger.mjs';
import { parseMessage } from './message.mjs';
import { address, atMost, commitmentOf, withContext } from './query.mjs';
import { RUNTIME, SLOTS_PER_EPOCH } from './runtime.mjs';

const MAX_FEE_ACCOUNTS = 128;
const FEE_BLOCKS = 150;

/**
 * @param {import('./chain.mjs').Chain} chain
 * @param {any} options
 */
function blockAt(chain, options) {
  return chain.ledger.at(commitmentOf(chain, options));
}

/** @type {Record<string, (chain: import('./chain.mjs').Chain, ...params: any[]) => any>} */
export const chainMethods = {
  getHealth: () => 'ok',

  getVersion: () => ({ 'solana-core': `4.2.0 (${RUNTIME})`, 'feature-set': 0 }),

  getGenesisHash: (chain) => chain.genesis,

  getIdentity: (chain) => ({ identity: chain.faucet.address }),

  getSlotLeader: (chain) => chain.faucet.address,

  getSlot: (chain, options) => blockAt(chain, options).slot,

  getBlockHeight: (chain, options) => blockAt(chain, options).height,

  getTransactionCount: (chain) => chain.count,

  getFirstAvailableBlock: (chain) => chain.ledger.blocks[0].slot,

  minimumLedgerSlot: (chain) => chain.ledger.blocks[0].slot,

  getEpochInfo(chain, options) {
    const block = blockAt(chain, options);
    return {
      absoluteSlot: block.slot,
      blockHeight: block.height,
      epoch: Math.floor(block.slot / SLOTS_PER_EPOCH),
      slotIndex: block.slot % SLOTS_PER_EPOCH,
      slotsInEpoch: SLOTS_PER_EPOCH,
      transactionCount: chain.count,
    };
  },

  getEpochSchedule: () => ({
    slotsPerEpoch: SLOTS_PER_EPOCH,
    leaderScheduleSlotOffset: SLOTS_PER_EPOCH,
    warmup: false,
    firstNormalEpoch: 0,
    firstNormalSlot: 0,
  }),

  getBlockTime(chain, slot) {
    const block = chain.ledger.blocks.find((candidate) => candidate.slot === slot);
    if (!block) throw new RpcError(CODE.slotMissing, `Slot ${slot} was skipped, or missing in long-term storage`);
    return block.time;
  },

  getBlocks(chain, first, last, options) {
    const end = typeof last === 'number' ? last : Infinity;
    const root = chain.ledger.at(commitmentOf(chain, options ?? (typeof last === 'object' ? last : undefined))).slot;
    return chain.ledger.blocks.map((block) => block.slot).filter((slot) => slot >= first && slot <= end && slot <= root);
  },

  getLatestBlockhash(chain, options) {
    const commitment = commitmentOf(chain, options);
    const block = chain.ledger.at(commitment);
    return withContext(chain, commitment, { blockhash: block.hash, lastValidBlockHeight: block.height + MAX_AGE });
  },

  isBlockhashValid(chain, hash, options) {
    const commitment = commitmentOf(chain, options);
    if (fromBase58(hash).length !== 32) throw invalidParams('WrongSize');
    return withContext(chain, commitment, chain.ledger.fresh(hash, commitment));
  },

  getFeeForMessage(chain, text, options) {
    const commitment = commitmentOf(chain, options);
    const message = parseMessage(new Uint8Array(Buffer.from(text, 'base64')));
    return withContext(chain, commitment, chain.current(message, commitment) ? fee(message) : null);
  },

  getRecentPrioritizationFees(chain, keys = []) {
    const wanted = new Set(atMost(keys, MAX_FEE_ACCOUNTS).map(address));
    return chain.ledger.blocks.slice(-FEE_BLOCKS).map((block) => {
      const prices = block.signatures
        .map((signature) => chain.ledger.entries.get(signature))
        .filter((entry) => wanted.size === 0 || entry.keys.some((key) => wanted.has(key)))
        .map((entry) => entry.price);
      return { slot: block.slot, prioritizationFee: prices.length > 0 ? Math.min(...prices) : 0 };
    });
  },
};
