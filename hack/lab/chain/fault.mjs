// SPDX-License-Identifier: Apache-2.0

/**
 * @file Faults by rule: which request or notification goes wrong, how, and how often.
 */

import { invalidParams } from './errors.mjs';

/** What a rule can do, and when. */
const ACTIONS = {
  // Instead of the request: it has no effect.
  http: 'before', // answers with a status, 429 unless told
  error: 'before', // answers with a JSON-RPC error, "Node is unhealthy" unless told
  reset: 'before', // cuts the connection
  hang: 'before', // says nothing for ms milliseconds (an hour unless told), then serves the request
  null: 'before', // answers null, as a node that has not heard of what is asked
  // With the request.
  drop: 'send', // accepts a transaction, which never reaches a leader
  delay: 'send', // lets a transaction land some slots later
  // After the request: it has had its effect.
  loseResponse: 'after', // cuts the connection
  errorAfter: 'after', // answers with a JSON-RPC error
  hangAfter: 'after', // answers ms milliseconds later
  // To a websocket notification (the rule's method is ws:account, ws:logs, ws:signature, ws:slot…).
  lose: 'notify', // never sends it
  close: 'notify', // closes the connection instead
};

const NUMBERS = ['times', 'skip', 'slots', 'ms', 'status', 'retryAfter', 'code'];
const FIELDS = new Set(['action', 'method', 'account', 'memo', 'message', 'data', ...NUMBERS]);

/**
 * @typedef {object} Rule
 * @property {number} id
 * @property {keyof typeof ACTIONS} action
 * @property {string} [method] Any method without it.
 * @property {string} [account] Only transactions that name this account.
 * @property {string} [memo] Only transactions with a memo that contains this.
 * @property {number} times How often it still applies; below zero: always.
 * @property {number} skip How many matches pass before it applies.
 * @property {number} hits How often it has applied.
 * @property {number} [slots]
 * @property {number} [ms]
 * @property {number} [status]
 * @property {number} [retryAfter] Seconds.
 * @property {number} [code]
 * @property {string} [message]
 * @property {unknown} [data]
 */

export class Faults {
  constructor() {
    /** @type {Rule[]} */
    this.rules = [];
    this.nextId = 1;
  }

  /**
   * @param {Partial<Rule>} rule
   * @returns {number} The rule's id.
   */
  add(rule) {
    if (!Object.hasOwn(ACTIONS, rule?.action)) {
      throw invalidParams(`unknown action ${rule?.action}: one of ${Object.keys(ACTIONS).join(', ')}`);
    }
    for (const field of Object.keys(rule)) if (!FIELDS.has(field)) throw invalidParams(`unknown field ${field} in a rule`);
    for (const field of NUMBERS) {
      if (rule[field] !== undefined && !Number.isSafeInteger(rule[field])) throw invalidParams(`${field} must be a whole number`);
    }
    const id = this.nextId++;
    this.rules.push({ times: 1, skip: 0, ...rule, id, hits: 0 });
    return id;
  }

  /** @param {number} [id] All rules without it. */
  clear(id) {
    this.rules = id === undefined ? [] : this.rules.filter((rule) => rule.id !== id);
  }

  /**
   * Finds the rule for a request or a notification, and counts it.
   *
   * @param {string} method
   * @param {{keys?: string[], memo?: string}} [about] The transaction in question.
   * @returns {Rule | null}
   */
  match(method, { keys = [], memo = '' } = {}) {
    const notification = method.startsWith('ws:');
    for (const rule of this.rules) {
      const fits = rule.times !== 0
        && (ACTIONS[rule.action] === 'notify') === notification
        && (rule.method === undefined || rule.method === method)
        && (rule.account === undefined || keys.includes(rule.account))
        && (rule.memo === undefined || memo.includes(rule.memo));
      if (!fits) continue;
      if (rule.skip > 0) {
        rule.skip--;
        continue;
      }
      if (rule.times > 0) rule.times--;
      rule.hits++;
      return rule;
    }
    return null;
  }
}
