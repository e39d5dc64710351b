// SPDX-License-Identifier: Apache-2.0

/**
 * @file What a transaction costs: 5000 lamports a signature, and the priority fee that it offers.
 */

import { PROGRAM, view } from './codec.mjs';

const PER_SIGNATURE = 5000n;
const MAX_UNITS = 1_400_000;
const UNITS_PER_INSTRUCTION = 200_000;
const UNITS_PER_BUILTIN = 3_000;

const PRECOMPILES = new Set([PROGRAM.ed25519, PROGRAM.secp256k1, PROGRAM.secp256r1]);
const BUILTINS = new Set([...PRECOMPILES, PROGRAM.system, PROGRAM.computeBudget, PROGRAM.upgradeableLoader, PROGRAM.vote]);

/**
 * @param {import('./message.mjs').Message} message
 * @returns {{units: bigint, price: bigint}} Compute units asked for, and micro-lamports offered for each.
 */
export function computeBudget(message) {
  let price = 0n;
  let units;
  let usual = 0;
  for (const { programIdIndex, data } of message.instructions) {
    const program = message.keys[programIdIndex];
    usual += BUILTINS.has(program) ? UNITS_PER_BUILTIN : UNITS_PER_INSTRUCTION;
    if (program !== PROGRAM.computeBudget) continue;
    if (data[0] === 2 && data.length >= 5) units = view(data).getUint32(1, true);
    if (data[0] === 3 && data.length >= 9) price = view(data).getBigUint64(1, true);
  }
  return { units: BigInt(Math.min(units ?? usual, MAX_UNITS)), price };
}

/**
 * @param {import('./message.mjs').Message} message
 * @returns {bigint} Lamports.
 */
export function fee(message) {
  let signatures = BigInt(message.header.signers);
  for (const { programIdIndex, data } of message.instructions) {
    if (PRECOMPILES.has(message.keys[programIdIndex]) && data.length > 0) signatures += BigInt(data[0]);
  }
  const { units, price } = computeBudget(message);
  return signatures * PER_SIGNATURE + (price * units + 999_999n) / 1_000_000n;
}
