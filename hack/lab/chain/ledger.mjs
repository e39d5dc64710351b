// SPDX-License-Identifier: Apache-2.0

/**
 * @file The ledger: blocks, commitment levels, ages of blockhashes, what accounts were before, and transactions found
 * by name, by message and by address. It executes nothing.
 */

import { addressBytes, base58, sha256 } from './codec.mjs';
import { invalidParams } from './errors.mjs';

/** How many blocks after its own a blockhash is good for. */
export const MAX_AGE = 150;

/** How many blocks back a status is known without a search of the history. */
export const STATUS_BLOCKS = 300;

/** Blocks kept in memory; pruned in steps so that pruning is rare. */
const KEPT_BLOCKS = 2048;
const PRUNE_STEP = 512;

/** The longest way to finality, so that blocks that are not final are never pruned. */
const MAX_LAG = 1024;

/**
 * @typedef {'processed' | 'confirmed' | 'finalized'} Commitment
 *
 * @typedef {object} Block
 * @property {number} slot
 * @property {number} parent The slot of the block before.
 * @property {number} height
 * @property {string} hash
 * @property {number} time Unix seconds.
 * @property {string[]} signatures
 * @property {string[]} changed The accounts that were writable in it.
 *
 * @typedef {object} Entry A landed transaction.
 * @property {string} signature
 * @property {string} id
 * @property {number} slot
 * @property {number} height
 * @property {number} time
 * @property {string | object | null} err
 * @property {string} raw Base64.
 * @property {'legacy' | 0} version
 * @property {string[]} keys Static keys, then loaded ones.
 * @property {number} price
 * @property {string | null} memo
 * @property {object} meta
 */

export class Ledger {
  /**
   * @param {object} options
   * @param {number} options.confirmLag Blocks after which a block is confirmed.
   * @param {number} options.finalLag Blocks after which a block is finalized.
   * @param {Block[]} options.blocks Oldest first, at least one.
   * @param {number} [options.root] The slot that is finalized already.
   */
  constructor({ confirmLag, finalLag, blocks, root = blocks[0].slot }) {
    if (!(confirmLag >= 0 && finalLag >= confirmLag && finalLag <= MAX_LAG)) {
      throw new RangeError(`lags must be ordered, confirm ${confirmLag} <= final ${finalLag} <= ${MAX_LAG}`);
    }
    this.lag = { processed: 0, confirmed: confirmLag, finalized: finalLag };
    this.blocks = blocks;
    /** The finalized block: what is final stays so, even when a rollback makes the chain shorter. */
    this.root = blocks.find((block) => block.slot === root);
    /** @type {Map<number, Map<string, import('./runtime.mjs').Account | null>>} Accounts as they were before a slot. */
    this.before = new Map();
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    this.ids = new Set();
    this.byAddress = new Map();
  }

  get head() {
    return this.blocks[this.blocks.length - 1];
  }

  /**
   * @param {Commitment} commitment
   * @returns {Block} The newest block of that level.
   */
  at(commitment) {
    const block = this.blocks[Math.max(0, this.blocks.length - 1 - this.lag[commitment])];
    return block.slot < this.root.slot ? this.root : block;
  }

  /**
   * Says how old a blockhash is, in blocks, for the newest block of a commitment level.
   *
   * @param {string} hash
   * @param {Commitment} [commitment]
   * @returns {number | null} Null when that block does not know the hash.
   */
  age(hash, commitment = 'processed') {
    const { height } = this.at(commitment);
    for (let i = this.blocks.length - 1; i >= 0; i--) {
      const block = this.blocks[i];
      if (height - block.height > STATUS_BLOCKS) return null;
      if (block.hash === hash) return block.height > height ? null : height - block.height;
    }
    return null;
  }

  /**
   * @param {string} hash
   * @param {Commitment} [commitment]
   */
  fresh(hash, commitment) {
    const age = this.age(hash, commitment);
    return age !== null && age <= MAX_AGE;
  }

  /**
   * Remembers what an account was before the given slot changed it.
   *
   * @param {number} slot
   * @param {string} key
   * @param {import('./runtime.mjs').Account | null} account
   */
  remember(slot, key, account) {
    let accounts = this.before.get(slot);
    if (!accounts) this.before.set(slot, accounts = new Map());
    if (!accounts.has(key)) accounts.set(key, account);
  }

  /**
   * Finds the accounts that were different at a commitment level from what they are now.
   *
   * @param {Commitment} commitment
   * @returns {Map<string, import('./runtime.mjs').Account | null>}
   */
  differences(commitment) {
    const { slot } = this.at(commitment);
    const out = new Map();
    for (const [changedIn, accounts] of this.before) {
      if (changedIn <= slot) continue;
      for (const [key, account] of accounts) if (!out.has(key)) out.set(key, account);
    }
    return out;
  }

  /**
   * Finds one account as it was at a commitment level, when it was different from now.
   *
   * @param {string} key
   * @param {Commitment} commitment
   * @returns {import('./runtime.mjs').Account | null | undefined} Undefined when it was as it is now.
   */
  difference(key, commitment) {
    const { slot } = this.at(commitment);
    for (const [changedIn, accounts] of this.before) {
      if (changedIn > slot && accounts.has(key)) return accounts.get(key);
    }
    return undefined;
  }

  /**
   * Closes a slot with a block.
   *
   * @param {number} slot
   * @param {number} time
   * @param {string[]} signatures
   * @returns {Block}
   */
  seal(slot, time, signatures) {
    const parent = this.head;
    const block = {
      slot,
      parent: parent.slot,
      height: parent.height + 1,
      hash: base58(sha256('block', addressBytes(parent.hash), String(slot), ...signatures)),
      time,
      signatures,
      changed: [...(this.before.get(slot)?.keys() ?? [])],
    };
    this.blocks.push(block);
    if (this.blocks.length > KEPT_BLOCKS + PRUNE_STEP) this.blocks.splice(0, PRUNE_STEP);
    this.root = this.at('finalized');
    for (const changedIn of this.before.keys()) {
      if (changedIn > this.root.slot) break;
      this.before.delete(changedIn);
    }
    return block;
  }

  /** @param {Entry} entry */
  add(entry) {
    this.entries.set(entry.signature, entry);
    this.ids.add(entry.id);
    for (const key of new Set(entry.keys)) {
      const list = this.byAddress.get(key);
      if (list) list.push(entry.signature);
      else this.byAddress.set(key, [entry.signature]);
    }
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.entries.delete(entry.signature);
    this.ids.delete(entry.id);
    for (const key of new Set(entry.keys)) {
      const kept = this.byAddress.get(key).filter((signature) => signature !== entry.signature);
      if (kept.length > 0) this.byAddress.set(key, kept);
      else this.byAddress.delete(key);
    }
  }

  /**
   * Takes back every block after a slot, as when another fork wins.
   *
   * @param {number} slot Not before the finalized slot.
   * @returns {{lost: Entry[], accounts: Map<string, import('./runtime.mjs').Account | null>}} The transactions that are
   *   no longer in any block, oldest first, and the accounts as they must be again.
   */
  unwind(slot) {
    if (!Number.isInteger(slot) || slot < this.root.slot) {
      throw invalidParams(`cannot roll back to slot ${slot}: slot ${this.root.slot} is finalized`);
    }
    const accounts = new Map();
    for (const [changedIn, before] of this.before) {
      if (changedIn <= slot) continue;
      for (const [key, account] of before) if (!accounts.has(key)) accounts.set(key, account);
      this.before.delete(changedIn);
    }
    const lost = [];
    while (this.head.slot > slot) lost.unshift(...this.blocks.pop().signatures);
    const entries = lost.map((signature) => this.entries.get(signature));
    entries.forEach((entry) => this.#remove(entry));
    return { lost: entries, accounts };
  }

  /**
   * @param {string} signature
   * @param {Commitment} commitment
   * @returns {Entry | null} The transaction, when its block has reached that level.
   */
  find(signature, commitment) {
    const entry = this.entries.get(signature);
    return entry && entry.slot <= this.at(commitment).slot ? entry : null;
  }

  /**
   * @param {string} signature
   * @param {boolean} search Whether to look further back than the recent blocks.
   */
  status(signature, search) {
    const entry = this.entries.get(signature);
    const { height } = this.head;
    if (!entry || (!search && height - entry.height > STATUS_BLOCKS)) return null;
    const level = this.level(entry);
    return {
      slot: entry.slot,
      confirmations: level === 'finalized' ? null : height - entry.height,
      err: entry.err,
      status: entry.err === null ? { Ok: null } : { Err: entry.err },
      confirmationStatus: level,
    };
  }

  /**
   * @param {Entry} entry
   * @returns {Commitment}
   */
  level(entry) {
    if (entry.slot <= this.root.slot) return 'finalized';
    return entry.slot <= this.at('confirmed').slot ? 'confirmed' : 'processed';
  }

  /**
   * Lists the transactions that name an address, newest first.
   *
   * @param {string} address
   * @param {{commitment: Commitment, before?: string, until?: string, limit: number}} options
   * @returns {Entry[]}
   */
  history(address, { commitment, before, until, limit }) {
    let signatures = (this.byAddress.get(address) ?? []).slice().reverse();
    if (before !== undefined) {
      const at = signatures.indexOf(before);
      signatures = at < 0 ? [] : signatures.slice(at + 1);
    }
    if (until !== undefined) {
      const at = signatures.indexOf(until);
      if (at >= 0) signatures = signatures.slice(0, at);
    }
    const { slot } = this.at(commitment);
    return signatures.map((signature) => this.entries.get(signature)).filter((entry) => entry.slot <= slot).slice(0, limit);
  }
}
