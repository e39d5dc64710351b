// SPDX-License-Identifier: Apache-2.0

/**
 * @file What a test may do to the chain and a client may not: time, forks, faults, accounts, programs.
 */

import { addressBytes } from './codec.mjs';
import { invalidParams } from './errors.mjs';

const MAX_COUNT = 100_000;

/**
 * @param {any} value
 * @param {string} name
 */
function count(value, name) {
  if (!Number.isInteger(value) || value < 0 || value > MAX_COUNT) {
    throw invalidParams(`${name} must be a whole number from 0 to ${MAX_COUNT}`);
  }
  return value;
}

/** @param {any} account */
function readAccount(account) {
  if (account === null) return null;
  const lamports = BigInt(account.lamports);
  if (lamports < 0n || lamports > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidParams('lamports must fit 53 bits');
  addressBytes(account.owner);
  return {
    lamports,
    data: new Uint8Array(Buffer.from(account.data ?? '', 'base64')),
    owner: account.owner,
    executable: account.executable === true,
  };
}

/** @type {Record<string, (server: import('./server.mjs').Server, request: any) => unknown>} */
const operations = {
  tick({ chain }, { n = 1 }) {
    chain.tick(count(n, 'n'));
    return { slot: chain.ledger.head.slot, height: chain.ledger.head.height };
  },
  auto: (server, { slotMs }) => server.auto(count(slotMs, 'slotMs')),
  rollback({ chain }, { depth, to, reland = false }) {
    if ((depth === undefined) === (to === undefined)) throw invalidParams('rollback needs either depth or to');
    const { blocks } = chain.ledger;
    const slot = to ?? blocks[Math.max(0, blocks.length - 1 - count(depth, 'depth'))].slot;
    return { slot, lost: chain.rollback(slot, reland === true) };
  },
  dropPending: ({ chain }) => chain.dropPending(),
  rule: ({ faults }, { rule }) => faults.add(rule),
  rules: ({ faults }) => faults.rules,
  clear: ({ faults }, { id }) => faults.clear(id),
  warpTime: ({ chain }, { seconds }) => ({ time: chain.warpTime(seconds) }),
  setAccount({ chain }, { address, account }) {
    addressBytes(address);
    chain.setAccount(address, readAccount(account));
  },
  addProgram({ chain }, { address, elf }) {
    addressBytes(address);
    chain.addProgram(address, new Uint8Array(Buffer.from(elf, 'base64')));
  },
  snapshot: ({ chain }) => chain.snapshot(),
  stats: ({ chain, rpc, subscriptions }) => ({
    ...chain.stats,
    slot: chain.ledger.head.slot,
    height: chain.ledger.head.height,
    time: chain.ledger.head.time,
    pending: chain.pending.length,
    transactions: chain.count,
    subscriptions: subscriptions.subscriptions.size,
    calls: rpc.calls,
    memory: process.memoryUsage().rss,
  }),
};

/**
 * @param {import('./server.mjs').Server} server
 * @param {any} request
 * @returns {unknown} Null when the operation has nothing to say.
 */
export function operate(server, request) {
  if (!Object.hasOwn(operations, request?.op)) {
    throw invalidParams(`unknown operation ${request?.op}: one of ${Object.keys(operations).join(', ')}`);
  }
  return operations[request.op](server, request) ?? null;
}
