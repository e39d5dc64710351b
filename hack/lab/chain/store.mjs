// SPDX-License-Identifier: Apache-2.0

/**
 * @file What survives a restart: a snapshot of everything, and a journal of each block after it.
 *
 * A journal line holds what a block changed, not how, so nothing is executed again. Every line has a number; lines that
 * the snapshot already contains are skipped, and a torn last line (the process died while writing it) ends the journal.
 */

import fs from 'node:fs';
import path from 'node:path';

/** The form of the files; a folder written in another form is refused. */
const FORMAT = 1;

/** The journal's size, in bytes, at which a snapshot is due. */
const SNAPSHOT_AFTER = 16 << 20;

/** @param {import('./runtime.mjs').Account | null} account */
export function packAccount(account) {
  if (account === null) return null;
  const { lamports, data, owner, executable } = account;
  return { lamports: lamports.toString(), data: Buffer.from(data).toString('base64'), owner, executable };
}

/**
 * @param {any} packed
 * @returns {import('./runtime.mjs').Account | null}
 */
export function unpackAccount(packed) {
  if (packed === null) return null;
  const { lamports, data, owner, executable } = packed;
  return { lamports: BigInt(lamports), data: new Uint8Array(Buffer.from(data, 'base64')), owner, executable };
}

/** @param {Map<string, import('./runtime.mjs').Account | null>} accounts */
export function packAccounts(accounts) {
  return [...accounts].map(([key, account]) => [key, packAccount(account)]);
}

/** @param {[string, any][]} packed */
export function unpackAccounts(packed) {
  return new Map(packed.map(([key, account]) => [key, unpackAccount(account)]));
}

export class Store {
  /** @param {string} dir */
  constructor(dir) {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.snapshotFile = path.join(dir, 'snapshot.json');
    this.journalFile = path.join(dir, 'journal.jsonl');
    this.sequence = 0;
    this.size = 0;
    this.journal = null;
  }

  /**
   * Reads what an earlier process left.
   *
   * @returns {{snapshot: any, lines: any[]} | null} Null when the folder is new.
   */
  load() {
    if (!fs.existsSync(this.snapshotFile)) return null;
    const { format, sequence, ...snapshot } = JSON.parse(fs.readFileSync(this.snapshotFile, 'utf8'));
    if (format !== FORMAT) throw new Error(`${this.snapshotFile} has format ${format}, this program reads format ${FORMAT}`);
    this.sequence = sequence;
    const lines = [];
    const text = fs.existsSync(this.journalFile) ? fs.readFileSync(this.journalFile, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    for (const line of whole.split('\n').slice(0, -1).map((entry) => JSON.parse(entry))) {
      if (line.sequence <= this.sequence) continue;
      if (line.sequence !== this.sequence + 1) {
        throw new Error(`${this.journalFile}: line ${line.sequence} follows line ${this.sequence}`);
      }
      this.sequence = line.sequence;
      lines.push(line);
    }
    return { snapshot, lines };
  }

  /**
   * Writes everything, and begins a new journal.
   *
   * @param {object} state
   */
  snapshot(state) {
    const temporary = `${this.snapshotFile}.tmp`;
    const file = fs.openSync(temporary, 'w', 0o600);
    fs.writeFileSync(file, JSON.stringify({ format: FORMAT, sequence: this.sequence, ...state }));
    fs.fsyncSync(file);
    fs.closeSync(file);
    fs.renameSync(temporary, this.snapshotFile);
    if (this.journal !== null) fs.closeSync(this.journal);
    this.journal = fs.openSync(this.journalFile, 'w', 0o600);
    this.size = 0;
  }

  /** @param {object} line */
  append(line) {
    this.sequence++;
    const text = `${JSON.stringify({ sequence: this.sequence, ...line })}\n`;
    fs.writeSync(this.journal, text);
    this.size += text.length;
  }

  get due() {
    return this.size >= SNAPSHOT_AFTER;
  }
}
