// SPDX-License-Identifier: Apache-2.0

/**
 * @file Subscriptions: accounts, programs, logs, signatures, slots and roots, at the commitment that was asked for.
 */

import { createRequire } from 'node:module';

import { CODE, invalidParams, RpcError } from './errors.mjs';
import { parseRequest, stringify } from './json.mjs';
import { address, commitmentOf, encodeAccount, NO_ACCOUNT, signature, withContext } from './query.mjs';

const { WebSocketServer } = createRequire(import.meta.url)('ws');

/**
 * @typedef {object} Subscription
 * @property {number} id
 * @property {any} socket
 * @property {string} kind
 * @property {any} target What is watched.
 * @property {any} options
 * @property {import('./ledger.mjs').Commitment} commitment
 * @property {number} seen The last slot that was looked at.
 */

/** What a subscription's first parameter must be. */
const TARGETS = {
  account: address,
  program: address,
  signature,
  logs: (filter) => {
    if (filter === 'all' || filter === 'allWithVotes') return null;
    if (filter?.mentions?.length !== 1) throw invalidParams('Invalid Request: Only 1 address supported');
    return address(filter.mentions[0]);
  },
  slot: () => null,
  root: () => null,
};

export class Subscriptions {
  /**
   * @param {import('./chain.mjs').Chain} chain
   * @param {import('./fault.mjs').Faults} faults
   */
  constructor(chain, faults) {
    this.chain = chain;
    this.faults = faults;
    /** @type {Map<number, Subscription>} */
    this.subscriptions = new Map();
    this.nextId = 1;
    this.root = chain.ledger.at('finalized').slot;
    this.server = new WebSocketServer({ noServer: true });
    chain.on('slot', () => this.#notifyAll());
  }

  /** Takes over an HTTP connection. */
  upgrade(request, socket, head) {
    this.server.handleUpgrade(request, socket, head, (client) => this.#serve(client));
  }

  /** Ends every connection. */
  close() {
    for (const client of this.server.clients) client.terminate();
    this.server.close();
  }

  #serve(client) {
    client.on('error', () => client.terminate());
    client.on('message', (message) => this.#answer(client, message.toString()));
    client.on('close', () => {
      for (const [id, subscription] of this.subscriptions) if (subscription.socket === client) this.subscriptions.delete(id);
    });
  }

  /**
   * @param {any} client
   * @param {string} text
   */
  #answer(client, text) {
    let id = null;
    let answer;
    try {
      const request = parseRequest(text);
      id = request.id ?? null;
      answer = { result: this.#call(client, request) };
    } catch (cause) {
      const error = cause instanceof RpcError ? cause : new RpcError(CODE.invalidRequest, cause.message);
      answer = { error };
    }
    client.send(stringify({ jsonrpc: '2.0', ...answer, id }));
  }

  #call(client, { method, params: given }) {
    const params = given ?? [];
    const [, kind, action] = /^([a-z]+)(Subscribe|Unsubscribe)$/.exec(method) ?? [];
    if (!Object.hasOwn(TARGETS, kind)) throw new RpcError(CODE.methodNotFound, 'Method not found');
    if (action === 'Unsubscribe') return this.#unsubscribe(client, params[0]);
    const commitment = commitmentOf(this.chain, params[1]);
    const subscription = {
      id: this.nextId++,
      socket: client,
      kind,
      target: TARGETS[kind](params[0]),
      options: params[1] ?? {},
      commitment,
      seen: this.chain.ledger.at(commitment).slot,
    };
    this.subscriptions.set(subscription.id, subscription);
    // The answer must leave first, or the client would not know whose notification it gets.
    if (kind === 'signature') setImmediate(() => this.#signature(subscription));
    return subscription.id;
  }

  #unsubscribe(client, id) {
    if (this.subscriptions.get(id)?.socket !== client) throw invalidParams('Invalid subscription id.');
    return this.subscriptions.delete(id);
  }

  /**
   * @param {Subscription} subscription
   * @param {unknown} result
   */
  #push(subscription, result) {
    const { id, socket, kind } = subscription;
    const fault = this.faults.match(`ws:${kind}`);
    if (fault?.action === 'lose') return;
    if (fault?.action === 'close') {
      socket.terminate();
      return;
    }
    socket.send(stringify({ jsonrpc: '2.0', method: `${kind}Notification`, params: { result, subscription: id } }));
  }

  #notifyAll() {
    const root = this.chain.ledger.at('finalized').slot;
    const { head } = this.chain.ledger;
    for (const subscription of [...this.subscriptions.values()]) {
      if (subscription.kind === 'slot') this.#push(subscription, { slot: head.slot, parent: head.parent, root });
      else if (subscription.kind === 'root') {
        if (root > this.root) this.#push(subscription, root);
      } else if (subscription.kind === 'signature') this.#signature(subscription);
      else this.#blocks(subscription);
    }
    this.root = root;
  }

  /**
   * Tells once that a transaction has reached a level, and ends the subscription.
   *
   * @param {Subscription} subscription
   */
  #signature(subscription) {
    const { id, target, commitment } = subscription;
    const entry = this.chain.ledger.find(target, commitment);
    if (!entry || !this.subscriptions.delete(id)) return;
    this.#push(subscription, withContext(this.chain, commitment, { err: entry.err }));
  }

  /**
   * Looks at the blocks that have newly reached a subscription's level. Slot numbers never repeat, so what a fork brings
   * is always newer than what was seen.
   *
   * @param {Subscription} subscription
   */
  #blocks(subscription) {
    const { slot } = this.chain.ledger.at(subscription.commitment);
    const blocks = this.chain.ledger.blocks.filter((block) => block.slot > subscription.seen && block.slot <= slot);
    subscription.seen = Math.max(subscription.seen, slot);
    for (const block of blocks) {
      if (subscription.kind === 'logs') this.#logs(subscription, block);
      else this.#accounts(subscription, block);
    }
  }

  /**
   * @param {Subscription} subscription
   * @param {import('./ledger.mjs').Block} block
   */
  #logs(subscription, block) {
    for (const name of block.signatures) {
      const entry = this.chain.ledger.entries.get(name);
      if (subscription.target !== null && !entry.keys.includes(subscription.target)) continue;
      const value = { signature: name, err: entry.err, logs: entry.meta.logMessages };
      this.#push(subscription, { context: { slot: block.slot }, value });
    }
  }

  /**
   * @param {Subscription} subscription
   * @param {import('./ledger.mjs').Block} block
   */
  #accounts(subscription, block) {
    const { kind, target, options, commitment } = subscription;
    for (const key of block.changed) {
      const account = this.chain.account(key, commitment);
      if (kind === 'account' && key === target) {
        this.#push(subscription, { context: { slot: block.slot }, value: encodeAccount(account ?? NO_ACCOUNT, options) });
      }
      if (kind === 'program' && account?.owner === target) {
        this.#push(subscription, { context: { slot: block.slot }, value: { pubkey: key, account: encodeAccount(account, options) } });
      }
    }
  }
}
