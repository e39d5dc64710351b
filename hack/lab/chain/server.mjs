#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0

/**
 * @file The server: one loopback port for JSON-RPC (POST /), websockets, /health and /sim; and the command line.
 */

import { realpathSync } from 'node:fs';
import http from 'node:http';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { Chain } from './chain.mjs';
import { Faults } from './fault.mjs';
import { stringify } from './json.mjs';
import { Rpc } from './rpc.mjs';
import { operate } from './sim.mjs';
import { Subscriptions } from './websocket.mjs';

const HOST = '127.0.0.1';
const MAX_BODY = 64 << 20;

/** Longer than clients keep idle connections, or they would now and then send into one that is just being closed. */
const KEEP_ALIVE_MS = 600_000;

/** @param {http.IncomingMessage} request */
async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new RangeError('request too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

export class Server {
  /** @param {Chain} chain */
  constructor(chain) {
    this.chain = chain;
    this.faults = new Faults();
    this.rpc = new Rpc(chain, this.faults);
    this.subscriptions = new Subscriptions(chain, this.faults);
    this.timer = undefined;
    this.http = http.createServer((request, response) => {
      this.#serve(request, response).catch((error) => {
        console.error(`${request.method} ${request.url}: ${error.message}`);
        response.destroy();
      });
    });
    this.http.keepAliveTimeout = KEEP_ALIVE_MS;
    this.http.headersTimeout = KEEP_ALIVE_MS + 1000;
    this.http.on('upgrade', (request, socket, head) => this.subscriptions.upgrade(request, socket, head));
  }

  /**
   * @param {number} port Zero for a free one.
   * @returns {Promise<{rpc: string, ws: string}>}
   */
  async listen(port) {
    await new Promise((resolve, reject) => {
      this.http.once('error', reject);
      this.http.listen(port, HOST, () => resolve(undefined));
    });
    const bound = /** @type {import('node:net').AddressInfo} */ (this.http.address()).port;
    return { rpc: `http://${HOST}:${bound}`, ws: `ws://${HOST}:${bound}` };
  }

  /**
   * Makes a slot every so often.
   *
   * @param {number} slotMs Zero to make slots by hand only.
   */
  auto(slotMs) {
    clearInterval(this.timer);
    if (slotMs > 0) this.timer = setInterval(() => this.chain.tick(), slotMs);
  }

  close() {
    clearInterval(this.timer);
    this.subscriptions.close();
    this.http.close();
    this.http.closeAllConnections();
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {http.ServerResponse} response
   */
  async #serve(request, response) {
    if (request.method === 'GET' && request.url === '/health') {
      response.end('ok');
      return;
    }
    if (request.method !== 'POST') {
      response.writeHead(405, { allow: 'POST' }).end();
      return;
    }
    if (request.headers.origin !== undefined) {
      response.writeHead(403).end('pages in a browser have no access');
      return;
    }
    const body = await readBody(request);
    if (request.url === '/sim') this.#simulate(body, response);
    else await this.rpc.serve(body, response);
  }

  /**
   * @param {string} body
   * @param {http.ServerResponse} response
   */
  #simulate(body, response) {
    try {
      const result = operate(this, JSON.parse(body));
      response.writeHead(200, { 'content-type': 'application/json' }).end(stringify({ result }));
    } catch (error) {
      response.writeHead(400, { 'content-type': 'application/json' }).end(stringify({ error: error.message }));
    }
  }
}

const OPTIONS = {
  port: { type: 'string', default: '0' },
  dir: { type: 'string' },
  seed: { type: 'string' },
  'slot-ms': { type: 'string', default: '50' },
  'confirm-lag': { type: 'string', default: '2' },
  'final-lag': { type: 'string', default: '32' },
  'exit-with-stdin': { type: 'boolean', default: false },
};

/**
 * @param {Record<string, any>} values
 * @param {string} name
 */
function whole(values, name) {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`--${name} must be a whole number, not ${values[name]}`);
  return value;
}

async function main() {
  const { values } = parseArgs({ options: /** @type {any} */ (OPTIONS) });
  const chain = new Chain({
    dir: values.dir ?? null,
    seed: values.seed,
    confirmLag: whole(values, 'confirm-lag'),
    finalLag: whole(values, 'final-lag'),
  });
  const server = new Server(chain);
  const urls = await server.listen(whole(values, 'port'));
  server.auto(whole(values, 'slot-ms'));
  console.log(`listening ${JSON.stringify(urls)}`);
  const stop = () => {
    server.close();
    chain.snapshot();
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (values['exit-with-stdin']) process.stdin.on('end', stop).resume();
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  main().catch((error) => {
    console.error(`chain: ${error.message}`);
    process.exit(1);
  });
}
