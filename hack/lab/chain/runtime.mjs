// SPDX-License-Identifier: Apache-2.0

/**
 * @file The runtime that executes transactions: LiteSVM, reduced to what the chain needs of it.
 *
 * LiteSVM holds one state and no blocks. Its own blockhash check and history are switched off: the ledger does both.
 */

import { createRequire } from 'node:module';

import { addressBytes, base58, PROGRAM, view } from './codec.mjs';
import { invalidParams, transactionError } from './errors.mjs';

const require = createRequire(import.meta.url);

/** The rent epoch of every account that is exempt from rent. */
export const RENT_EPOCH = 18446744073709551615n;

export const SLOTS_PER_EPOCH = 432_000;
const SLOT_HASHES = 512;
const LOOKUP_TABLE_HEADER = 56;

/**
 * @typedef {object} Account
 * @property {bigint} lamports
 * @property {Uint8Array} data
 * @property {string} owner
 * @property {boolean} executable
 *
 * @typedef {object} Outcome
 * @property {string | object | null} err
 * @property {string[]} logs
 * @property {number} units
 * @property {object[]} inner
 * @property {{programId: string, data: [string, string]} | null} returnData
 */

/** @returns {string} The package with the native code for the machine this runs on. */
export function bindingName() {
  const { platform, arch } = process;
  if (platform !== 'linux') return `litesvm-${platform}-${arch}`;
  const glibc = /** @type {any} */ (process.report.getReport()).header.glibcVersionRuntime;
  return `litesvm-linux-${arch}-${glibc ? 'gnu' : 'musl'}`;
}

const name = bindingName();

function load() {
  try {
    return require(name);
  } catch (cause) {
    throw new Error(`load ${name} (run "npm ci" in hack/lab/chain): ${cause.message}`, { cause });
  }
}

const svmModule = load();

/** What the runtime is, for getVersion. */
export const RUNTIME = `litesvm ${require(`${name}/package.json`).version}`;

/** @param {any} account LiteSVM's account. */
function fromSvm(account) {
  return {
    lamports: account.lamports(),
    data: account.data(),
    owner: base58(account.owner()),
    executable: account.executable(),
  };
}

/** @param {any} meta LiteSVM's metadata. */
function innerInstructions(meta) {
  return meta.innerInstructions().flatMap((list, index) => (list.length === 0 ? [] : [{
    index,
    instructions: list.map((entry) => {
      const ix = entry.instruction();
      return {
        programIdIndex: ix.programIdIndex(),
        accounts: Array.from(ix.accounts()),
        data: base58(ix.data()),
        stackHeight: entry.stackHeight(),
      };
    }),
  }]));
}

/** @param {any} meta LiteSVM's metadata. */
function returnData(meta) {
  const data = meta.returnData();
  if (data.data().length === 0) return null;
  return { programId: base58(data.programId()), data: [Buffer.from(data.data()).toString('base64'), 'base64'] };
}

/**
 * @param {any} meta
 * @param {any} error
 * @returns {Outcome}
 */
function outcome(meta, error) {
  return {
    err: error === null ? null : transactionError(error),
    logs: meta.logs(),
    units: Number(meta.computeUnitsConsumed()),
    inner: innerInstructions(meta),
    returnData: returnData(meta),
  };
}

export class Runtime {
  constructor() {
    this.svm = new svmModule.LiteSvm();
    this.svm.setTransactionHistory(0n);
    this.svm.setBlockhashCheck(false);
    this.svm.setSigverify(true);
    this.svm.setLogBytesLimit(10_000n);
  }

  /**
   * Enters a slot: programs see its number, its time and the hashes of the blocks before it.
   *
   * @param {number} slot
   * @param {number} time
   * @param {number} genesisTime
   * @param {{slot: number, hash: string}[]} blocks Oldest first.
   */
  enter(slot, time, genesisTime, blocks) {
    this.setTime(slot, time, genesisTime);
    const hashes = blocks.slice(-SLOT_HASHES).reverse();
    this.svm.setSlotHashes(hashes.map((block) => ({ slot: BigInt(block.slot), hash: block.hash })));
  }

  /**
   * @param {number} slot
   * @param {number} time
   * @param {number} genesisTime
   */
  setTime(slot, time, genesisTime) {
    const epoch = BigInt(Math.floor(slot / SLOTS_PER_EPOCH));
    this.svm.setClock(new svmModule.Clock(BigInt(slot), BigInt(genesisTime), epoch, epoch + 1n, BigInt(time)));
  }

  /** The runtime's own blockhash, always the same; only its nonces follow from it. */
  get blockhash() {
    return this.svm.latestBlockhash();
  }

  /**
   * @param {string} key
   * @returns {Account | null}
   */
  get(key) {
    const account = this.svm.getAccount(addressBytes(key));
    return account ? fromSvm(account) : null;
  }

  /**
   * @param {string} key
   * @param {Account | null} account Null removes it.
   */
  put(key, account) {
    const { lamports, data, owner, executable } = account
      ?? { lamports: 0n, data: new Uint8Array(0), owner: PROGRAM.system, executable: false };
    this.svm.setAccount(
      addressBytes(key),
      new svmModule.Account(lamports, data, addressBytes(owner), executable, RENT_EPOCH),
    );
  }

  /**
   * Puts many accounts; programs last, because loading one reads the account that holds its code.
   *
   * @param {Map<string, Account | null>} accounts
   */
  putAll(accounts) {
    const entries = [...accounts];
    for (const [key, account] of entries) if (!account?.executable) this.put(key, account);
    for (const [key, account] of entries) if (account?.executable) this.put(key, account);
  }

  /**
   * @param {string} program
   * @returns {Map<string, Account>}
   */
  owned(program) {
    const list = this.svm.getProgramAccounts(addressBytes(program));
    return new Map(list.map((entry) => [base58(entry.address), fromSvm(entry.account())]));
  }

  /**
   * Finds the keys that a transaction loads from lookup tables.
   *
   * @param {import('./message.mjs').Message} message
   * @returns {{writable: string[], readonly: string[]} | null} Null when a table or an entry is missing.
   */
  lookup(message) {
    const loaded = { writable: [], readonly: [] };
    for (const { accountKey, writableIndexes, readonlyIndexes } of message.lookups) {
      const table = this.get(accountKey);
      if (!table) return null;
      const length = Math.floor((table.data.length - LOOKUP_TABLE_HEADER) / 32);
      for (const [indexes, keys] of [[writableIndexes, loaded.writable], [readonlyIndexes, loaded.readonly]]) {
        for (const index of indexes) {
          if (index >= length) return null;
          const at = LOOKUP_TABLE_HEADER + 32 * index;
          keys.push(base58(table.data.subarray(at, at + 32)));
        }
      }
    }
    return loaded;
  }

  /**
   * Executes a transaction for good.
   *
   * @param {Uint8Array} raw
   * @returns {Outcome}
   */
  send(raw) {
    const result = this.svm.sendVersionedTransaction(raw);
    const failed = result instanceof svmModule.FailedTransactionMetadata;
    return failed ? outcome(result.meta(), result.err()) : outcome(result, null);
  }

  /**
   * Executes a transaction without effect.
   *
   * @param {Uint8Array} raw
   * @param {boolean} verify Whether signatures are checked.
   * @returns {Outcome & {accounts: Map<string, Account>}}
   */
  simulate(raw, verify) {
    this.svm.setSigverify(verify);
    try {
      const result = this.svm.simulateVersionedTransaction(raw);
      const failed = result instanceof svmModule.FailedTransactionMetadata;
      const after = failed ? [] : result.postAccounts();
      return {
        ...outcome(result.meta(), failed ? result.err() : null),
        accounts: new Map(after.map((entry) => [base58(entry.address), fromSvm(entry.account())])),
      };
    } finally {
      this.svm.setSigverify(true);
    }
  }

  /**
   * Loads a program without a deployment, under the loader that keeps code in the program's own account.
   *
   * @param {string} key
   * @param {Uint8Array} elf
   */
  addProgram(key, elf) {
    try {
      this.svm.addProgramWithLoader(addressBytes(key), elf, addressBytes(PROGRAM.loader));
    } catch (cause) {
      throw invalidParams(`load program ${key}: ${cause.message}`);
    }
  }

  /** @param {number} size */
  rent(size) {
    return this.svm.minimumBalanceForRentExemption(BigInt(size));
  }
}

/**
 * Reads a durable nonce account.
 *
 * @param {Account | null} account
 * @returns {{authority: string, nonce: string} | null} Null when it is not an initialized one.
 */
export function nonceState(account) {
  if (!account || account.owner !== PROGRAM.system || account.data.length !== 80) return null;
  const data = view(account.data);
  if (data.getUint32(0, true) !== 1 || data.getUint32(4, true) !== 1) return null;
  return { authority: base58(account.data.subarray(8, 40)), nonce: base58(account.data.subarray(40, 72)) };
}
