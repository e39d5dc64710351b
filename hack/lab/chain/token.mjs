// SPDX-License-Identifier: Apache-2.0

/**
 * @file Token accounts and mints, as far as a node reads them.
 */

import { base58, PROGRAM, view } from './codec.mjs';

const ACCOUNT_SIZE = 165;
const MINT_SIZE = 82;
const MULTISIG_SIZE = 355;
const KIND_MINT = 1;
const KIND_ACCOUNT = 2;

/** @param {import('./runtime.mjs').Account | null} account */
function ofTokenProgram(account) {
  return account !== null && (account.owner === PROGRAM.token || account.owner === PROGRAM.token2022);
}

/**
 * Says whether data has the given base size, alone or with extensions after it.
 *
 * @param {Uint8Array} data
 * @param {number} size
 * @param {number} kind The byte after the padding that tells mints from accounts.
 */
function shaped(data, size, kind) {
  if (data.length === size) return true;
  return data.length > ACCOUNT_SIZE && data.length !== MULTISIG_SIZE && data[ACCOUNT_SIZE] === kind;
}

/**
 * @param {import('./runtime.mjs').Account | null} account
 * @returns {{mint: string, owner: string, amount: bigint} | null}
 */
export function tokenAccount(account) {
  if (!ofTokenProgram(account) || !shaped(account.data, ACCOUNT_SIZE, KIND_ACCOUNT)) return null;
  const { data } = account;
  const initialized = data[108] !== 0;
  if (!initialized) return null;
  return { mint: base58(data.subarray(0, 32)), owner: base58(data.subarray(32, 64)), amount: view(data).getBigUint64(64, true) };
}

/**
 * @param {import('./runtime.mjs').Account | null} account
 * @returns {{supply: bigint, decimals: number} | null}
 */
export function tokenMint(account) {
  if (!ofTokenProgram(account) || !shaped(account.data, MINT_SIZE, KIND_MINT)) return null;
  const initialized = account.data[45] !== 0;
  if (!initialized) return null;
  return { supply: view(account.data).getBigUint64(36, true), decimals: account.data[44] };
}

/**
 * @param {bigint} amount
 * @param {number} decimals
 */
export function uiAmount(amount, decimals) {
  const digits = amount.toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '');
  const text = fraction === '' ? whole : `${whole}.${fraction}`;
  return { amount: amount.toString(), decimals, uiAmount: Number(text), uiAmountString: text };
}
