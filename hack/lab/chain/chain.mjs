// SPDX-License-Identifier: Apache-2.0

/**
 * @file The chain: one open slot after another. It takes pending transactions into blocks, rolls back forks, keeps time,
 * and writes down each block so that a restart continues where it ended.
 */

import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';

import { addressBytes, base58, PROGRAM, sha256 } from './codec.mjs';
import { invalidParams } from './errors.mjs';
import { execute, nonceAccount } from './execute.mjs';
import { Faucet, FAUCET_LAMPORTS } from './faucet.mjs';
import { Ledger } from './ledger.mjs';
import { parseTransaction } from './message.mjs';
import { Runtime } from './runtime.mjs';
import { packAccounts, Store, unpackAccounts } from './store.mjs';

/**
 * Emits `slot` (the sealed block) after each block and `rollback` (slot, lost signatures) after a fork.
 */
export class Chain extends EventEmitter {
  /**
   * @param {object} [options]
   * @param {string | null} [options.dir] Where the state is kept; in memory only without it.
   * @param {number} [options.confirmLag]
   * @param {number} [options.finalLag]
   * @param {string} [options.seed] Makes the genesis hash; random without it.
   * @param {() => number} [options.now] Milliseconds since 1970.
   */
  constructor({ dir = null, confirmLag = 2, finalLag = 32, seed, now = Date.now } = {}) {
    super();
    this.setMaxListeners(0);
    this.now = now;
    /** @type {{tx: import('./message.mjs').Transaction, from: number}[]} */
    this.pending = [];
    /** @type {Set<string>} Every account that was ever written, so that a snapshot can hold them all. */
    this.written = new Set();
    this.stats = { landed: 0, refused: 0, expired: 0, duplicate: 0 };
    this.store = dir === null ? null : new Store(dir);
    const saved = this.store?.load() ?? null;
    const lags = { confirmLag, finalLag };
    if (saved) this.#restore(saved, lags);
    else this.#begin(seed ?? randomBytes(32), lags);
    this.faucet ??= new Faucet(this.genesis);
    this.snapshot();
  }

  /**
   * @param {string | Uint8Array} seed
   * @param {{confirmLag: number, finalLag: number}} lags
   */
  #begin(seed, lags) {
    this.runtime = new Runtime();
    this.offset = 0;
    this.count = 0;
    const genesis = base58(sha256('genesis', seed));
    const block = { slot: 0, parent: 0, height: 0, hash: genesis, time: this.#clock(), signatures: [], changed: [] };
    this.genesis = genesis;
    this.genesisTime = block.time;
    this.ledger = new Ledger({ ...lags, blocks: [block] });
    this.faucet = new Faucet(genesis);
    this.#write(new Map([[this.faucet.address, {
      lamports: FAUCET_LAMPORTS, data: new Uint8Array(0), owner: PROGRAM.system, executable: false,
    }]]));
    this.#enter(1);
  }

  /**
   * @param {{snapshot: any, lines: any[]}} saved
   * @param {{confirmLag: number, finalLag: number}} lags
   */
  #restore({ snapshot, lines }, lags) {
    this.runtime = new Runtime();
    this.offset = snapshot.offset;
    this.count = snapshot.count;
    this.genesis = snapshot.genesis;
    this.genesisTime = snapshot.genesisTime;
    this.ledger = new Ledger({ ...lags, blocks: snapshot.blocks, root: snapshot.root });
    for (const [slot, accounts] of snapshot.before) this.ledger.before.set(slot, unpackAccounts(accounts));
    for (const entry of snapshot.entries) this.ledger.add(entry);
    this.#enter(snapshot.slot - 1); // programs run from the slot after the one that they are put in
    this.#write(unpackAccounts(snapshot.accounts));
    this.#enter(snapshot.slot);
    for (const line of lines) {
      if (line.rollback === undefined) this.#replay(line);
      else this.#unwind(line.rollback);
    }
  }

  /** @param {any} line A block of the journal. */
  #replay({ slot, time, offset, entries = [], accounts = [] }) {
    const after = unpackAccounts(accounts);
    for (const key of after.keys()) this.ledger.remember(slot, key, this.runtime.get(key));
    this.#write(after);
    for (const entry of entries) this.ledger.add(entry);
    this.ledger.seal(slot, time, entries.map((entry) => entry.signature));
    this.offset = offset;
    this.count += entries.length;
    this.#enter(slot + 1);
  }

  /** Writes everything down, so that the journal can begin anew. */
  snapshot() {
    this.store?.snapshot({
      slot: this.slot,
      offset: this.offset,
      count: this.count,
      genesis: this.genesis,
      genesisTime: this.genesisTime,
      blocks: this.ledger.blocks,
      root: this.ledger.root.slot,
      before: [...this.ledger.before].map(([slot, accounts]) => [slot, packAccounts(accounts)]),
      entries: [...this.ledger.entries.values()],
      accounts: packAccounts(new Map([...this.written].map((key) => [key, this.runtime.get(key)]))),
    });
  }

  /** @param {Map<string, import('./runtime.mjs').Account | null>} accounts */
  #write(accounts) {
    this.runtime.putAll(accounts);
    for (const key of accounts.keys()) this.written.add(key);
  }

  /** The chain's time in Unix seconds: the wall clock and what it was warped by; never earlier than the last block. */
  #clock() {
    const time = Math.floor(this.now() / 1000) + this.offset;
    return Math.max(time, this.ledger?.head.time ?? 0);
  }

  /** @param {number} slot */
  #enter(slot) {
    this.slot = slot;
    this.time = this.#clock();
    this.runtime.enter(slot, this.time, this.genesisTime, this.ledger.blocks);
  }

  /**
   * Closes the open slot and opens the next.
   *
   * @param {import('./ledger.mjs').Entry[]} entries
   */
  #seal(entries) {
    const { slot, time } = this;
    for (const entry of entries) this.ledger.add(entry);
    this.count += entries.length;
    const changed = this.ledger.before.get(slot) ?? new Map();
    for (const key of changed.keys()) this.written.add(key);
    const block = this.ledger.seal(slot, time, entries.map((entry) => entry.signature));
    if (this.store) {
      const after = new Map([...changed.keys()].map((key) => [key, this.runtime.get(key)]));
      const content = changed.size > 0 ? { entries, accounts: packAccounts(after) } : {};
      this.store.append({ slot, time, offset: this.offset, ...content });
    }
    this.#enter(slot + 1);
    if (this.store?.due) this.snapshot();
    this.emit('slot', block);
  }

  /** Takes what is pending into a block, and seals it; a number of times. */
  tick(times = 1) {
    for (let i = 0; i < times; i++) {
      // Transactions must see the time at which they run, not the time at which the slot was opened.
      this.time = this.#clock();
      this.runtime.setTime(this.slot, this.time, this.genesisTime);
      const due = this.pending.filter((item) => item.from <= this.slot);
      this.pending = this.pending.filter((item) => item.from > this.slot);
      const taken = new Set();
      const entries = [];
      for (const { tx } of due) {
        const entry = this.#include(tx, taken);
        if (entry === null) continue;
        taken.add(tx.id);
        entries.push(entry);
      }
      this.#seal(entries);
    }
  }

  /**
   * @param {import('./message.mjs').Transaction} tx
   * @param {Set<string>} taken Messages that are in the open slot already.
   * @returns {import('./ledger.mjs').Entry | null}
   */
  #include(tx, taken) {
    let reason = /** @type {keyof Chain['stats']} */ ('landed');
    let entry = null;
    if (taken.has(tx.id) || this.ledger.ids.has(tx.id)) reason = 'duplicate';
    else if (!this.current(tx.message)) reason = 'expired';
    else if ((entry = execute(this, tx)) === null) reason = 'refused';
    this.stats[reason]++;
    return entry;
  }

  /**
   * Says whether a transaction's blockhash, or its durable nonce, is good.
   *
   * @param {import('./message.mjs').Message} message
   * @param {import('./ledger.mjs').Commitment} [commitment]
   */
  current(message, commitment) {
    return this.ledger.fresh(message.blockhash, commitment) || nonceAccount(this, message) !== null;
  }

  /**
   * Gives a transaction to the leaders.
   *
   * @param {import('./message.mjs').Transaction} tx
   * @param {number} [delay] Slots until it can land.
   */
  submit(tx, delay = 0) {
    this.pending.push({ tx, from: this.slot + delay });
  }

  /** Forgets what is pending, as leaders do under load. */
  dropPending() {
    const dropped = this.pending.length;
    this.pending = [];
    return dropped;
  }

  /**
   * @param {string} to
   * @param {bigint} lamports
   * @returns {import('./message.mjs').Transaction} The transaction that will pay it.
   */
  airdrop(to, lamports) {
    const tx = this.faucet.pay(to, lamports, this.ledger.head.hash);
    this.submit(tx);
    return tx;
  }

  /**
   * @param {string} key
   * @param {import('./ledger.mjs').Commitment} [commitment]
   */
  account(key, commitment = 'processed') {
    addressBytes(key);
    const old = this.ledger.difference(key, commitment);
    return old === undefined ? this.runtime.get(key) : old;
  }

  /**
   * @param {string} program
   * @param {import('./ledger.mjs').Commitment} [commitment]
   * @returns {Map<string, import('./runtime.mjs').Account>}
   */
  owned(program, commitment = 'processed') {
    const accounts = this.runtime.owned(program);
    for (const [key, account] of this.ledger.differences(commitment)) {
      if (account?.owner === program) accounts.set(key, account);
      else accounts.delete(key);
    }
    return accounts;
  }

  /**
   * Moves to another fork: every block after a slot is gone. Slot numbers go on, the block height falls back, and
   * blockhashes of the lost blocks are unknown.
   *
   * @param {number} slot
   * @param {boolean} [reland] Whether the lost transactions are submitted again.
   * @returns {string[]} The signatures that are in no block any more.
   */
  rollback(slot, reland = false) {
    const lost = this.#unwind(slot);
    this.store?.append({ rollback: slot });
    if (reland) for (const tx of lost) this.submit(tx);
    const signatures = lost.map((tx) => tx.signature);
    this.emit('rollback', slot, signatures);
    return signatures;
  }

  /**
   * @param {number} slot
   * @returns {import('./message.mjs').Transaction[]}
   */
  #unwind(slot) {
    const { lost, accounts } = this.ledger.unwind(slot);
    this.runtime.putAll(accounts);
    this.count -= lost.length;
    this.#enter(this.slot + 1);
    return lost.map((entry) => parseTransaction(new Uint8Array(Buffer.from(entry.raw, 'base64'))));
  }

  /**
   * Sets an account in a block of its own.
   *
   * @param {string} key
   * @param {import('./runtime.mjs').Account | null} account
   */
  setAccount(key, account) {
    this.#change([key], () => this.runtime.put(key, account));
  }

  /**
   * Loads a program in a block of its own, without the transactions of a deployment.
   *
   * @param {string} key
   * @param {Uint8Array} elf
   */
  addProgram(key, elf) {
    this.#change([key], () => this.runtime.addProgram(key, elf));
  }

  /**
   * @param {string[]} keys
   * @param {() => void} change
   */
  #change(keys, change) {
    const before = keys.map((key) => this.runtime.get(key));
    change();
    keys.forEach((key, i) => this.ledger.remember(this.slot, key, before[i]));
    this.#seal([]);
  }

  /**
   * Moves the chain's clock forward.
   *
   * @param {number} seconds
   */
  warpTime(seconds) {
    if (!Number.isSafeInteger(seconds) || seconds < 0) throw invalidParams('seconds must be a whole number, not negative');
    this.offset += seconds;
    this.tick();
    return this.ledger.head.time;
  }
}
