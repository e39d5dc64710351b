// SPDX-License-Identifier: Apache-2.0

/**
 * @file JSON-RPC 2.0 over HTTP: calls, batches, and what faults do to them.
 */

import { CODE, RpcError } from './errors.mjs';
import { parseRequest, stringify } from './json.mjs';
import { decodeTransaction, memos } from './message.mjs';
import { chainMethods } from './methods-chain.mjs';
import { stateMethods } from './methods-state.mjs';
import { sendTransaction, transactionMethods } from './methods-transaction.mjs';
import { withContext } from './query.mjs';

const methods = { ...chainMethods, ...stateMethods, ...transactionMethods };
const HOUR = 3_600_000;

/** Methods whose empty answer is inside a context. */
const EMPTY = {
  getSignatureStatuses: (chain, [signatures]) => withContext(chain, 'processed', signatures.map(() => null)),
  getAccountInfo: (chain) => withContext(chain, 'processed', null),
};

/** Ends a request in a way that is not a JSON-RPC answer. */
class Cut extends Error {
  /** @param {{status?: number, retryAfter?: number}} how Without a status the connection is cut. */
  constructor(how) {
    super('cut');
    this.how = how;
  }
}

/** @param {import('./fault.mjs').Rule} fault */
function fail(fault) {
  throw new RpcError(fault.code ?? CODE.unhealthy, fault.message ?? 'Node is unhealthy', fault.data ?? { numSlotsBehind: null });
}

/**
 * Waits, but does not keep the process alive.
 *
 * @param {number} ms
 */
function wait(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms).unref(); });
}

export class Rpc {
  /**
   * @param {import('./chain.mjs').Chain} chain
   * @param {import('./fault.mjs').Faults} faults
   */
  constructor(chain, faults) {
    this.chain = chain;
    this.faults = faults;
    /** @type {Record<string, number>} */
    this.calls = {};
  }

  /**
   * Answers an HTTP request.
   *
   * @param {string} body
   * @param {import('node:http').ServerResponse} response
   */
  async serve(body, response) {
    let text;
    try {
      text = await this.#answer(body);
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      const { status, retryAfter } = error.how;
      if (status === undefined) {
        response.destroy();
        return;
      }
      if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
      response.writeHead(status, { 'content-type': 'text/plain' }).end(status === 429 ? 'Too Many Requests' : 'Service Unavailable');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(text);
  }

  /** @param {string} body */
  async #answer(body) {
    let request;
    try {
      request = parseRequest(body);
    } catch {
      return stringify({ jsonrpc: '2.0', error: new RpcError(CODE.parse, 'Parse error'), id: null });
    }
    if (!Array.isArray(request)) return stringify(await this.#call(request));
    return stringify(await Promise.all(request.map((item) => this.#call(item))));
  }

  /** @param {any} request */
  async #call(request) {
    const id = request?.id ?? null;
    try {
      return { jsonrpc: '2.0', result: await this.#result(request), id };
    } catch (error) {
      if (error instanceof Cut) throw error;
      if (error instanceof RpcError) return { jsonrpc: '2.0', error, id };
      console.error(`${request?.method}: ${error.stack}`);
      return { jsonrpc: '2.0', error: new RpcError(CODE.internal, `Internal error: ${error.message}`), id };
    }
  }

  /** @param {any} request */
  async #result(request) {
    const { method } = request ?? {};
    const params = request?.params ?? [];
    if (typeof method !== 'string' || !Array.isArray(params)) throw new RpcError(CODE.invalidRequest, 'Invalid request');
    const sending = method === 'sendTransaction';
    if (!sending && !Object.hasOwn(methods, method)) throw new RpcError(CODE.methodNotFound, 'Method not found');
    this.calls[method] = (this.calls[method] ?? 0) + 1;
    const tx = sending ? decodeTransaction(params[0], params[1]?.encoding) : null;
    const fault = this.faults.match(method, tx ? { keys: tx.message.keys, memo: memos(tx.message).join('\n') } : {});
    if (fault?.action === 'null') return EMPTY[method]?.(this.chain, params) ?? null;
    if (fault) await this.#before(fault);
    const result = tx ? sendTransaction(this.chain, tx, params[1], fault) : methods[method](this.chain, ...params);
    if (fault) await this.#after(fault);
    return result;
  }

  /** @param {import('./fault.mjs').Rule} fault */
  async #before(fault) {
    if (fault.action === 'http') throw new Cut({ status: fault.status ?? 429, retryAfter: fault.retryAfter });
    if (fault.action === 'reset') throw new Cut({});
    if (fault.action === 'error') fail(fault);
    if (fault.action === 'hang') await wait(fault.ms ?? HOUR);
  }

  /** @param {import('./fault.mjs').Rule} fault */
  async #after(fault) {
    if (fault.action === 'loseResponse') throw new Cut({});
    if (fault.action === 'errorAfter') fail(fault);
    if (fault.action === 'hangAfter') await wait(fault.ms ?? HOUR);
  }
}
