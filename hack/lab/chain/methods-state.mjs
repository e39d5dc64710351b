// SPDX-License-Identifier: Apache-2.0

/**
 * @file JSON-RPC methods about accounts and tokens.
 */

import { fromBase58 } from './codec.mjs';
import { invalidParams } from './errors.mjs';
import { address, atMost, commitmentOf, encodeAccount, withContext } from './query.mjs';
import { tokenAccount, tokenMint, uiAmount } from './token.mjs';

const MAX_ACCOUNTS = 100;
const MAX_FILTERS = 4;
const LARGEST = 20;

/**
 * @param {import('./chain.mjs').Chain} chain
 * @param {string} key
 * @param {import('./ledger.mjs').Commitment} commitment
 */
function mintOf(chain, key, commitment) {
  const account = chain.account(key, commitment);
  if (account === null) throw invalidParams('Invalid param: could not find mint');
  const mint = tokenMint(account);
  if (!mint) throw invalidParams('Invalid param: not a Token mint');
  return { ...mint, program: account.owner };
}

/**
 * @param {import('./runtime.mjs').Account} account
 * @param {any} filter
 */
function passes(account, filter) {
  if (filter.dataSize !== undefined) return account.data.length === filter.dataSize;
  if (filter.memcmp === undefined) throw invalidParams('a filter must be dataSize or memcmp');
  const { offset, bytes, encoding } = filter.memcmp;
  const wanted = encoding === 'base64' ? Buffer.from(bytes, 'base64') : Buffer.from(fromBase58(bytes));
  return wanted.equals(account.data.subarray(offset, offset + wanted.length));
}

/** @type {Record<string, (chain: import('./chain.mjs').Chain, ...params: any[]) => any>} */
export const stateMethods = {
  getAccountInfo(chain, key, options) {
    const commitment = commitmentOf(chain, options);
    return withContext(chain, commitment, encodeAccount(chain.account(address(key), commitment), options));
  },

  getBalance(chain, key, options) {
    const commitment = commitmentOf(chain, options);
    return withContext(chain, commitment, chain.account(address(key), commitment)?.lamports ?? 0n);
  },

  getMultipleAccounts(chain, keys, options) {
    const commitment = commitmentOf(chain, options);
    const accounts = atMost(keys, MAX_ACCOUNTS).map((key) => chain.account(address(key), commitment));
    return withContext(chain, commitment, accounts.map((account) => encodeAccount(account, options)));
  },

  getProgramAccounts(chain, program, options) {
    const commitment = commitmentOf(chain, options);
    const filters = options?.filters ?? [];
    if (filters.length > MAX_FILTERS) throw invalidParams(`Too many filters provided; max ${MAX_FILTERS}`);
    const found = [...chain.owned(address(program), commitment)]
      .filter(([, account]) => filters.every((filter) => passes(account, filter)))
      .map(([pubkey, account]) => ({ pubkey, account: encodeAccount(account, options) }));
    return options?.withContext ? withContext(chain, commitment, found) : found;
  },

  getMinimumBalanceForRentExemption(chain, size) {
    if (!Number.isSafeInteger(size) || size < 0) throw invalidParams('expected a size');
    return chain.runtime.rent(size);
  },

  getTokenAccountBalance(chain, key, options) {
    const commitment = commitmentOf(chain, options);
    const account = chain.account(address(key), commitment);
    if (account === null) throw invalidParams('Invalid param: could not find account');
    const token = tokenAccount(account);
    if (!token) throw invalidParams('Invalid param: not a Token account');
    const { decimals } = mintOf(chain, token.mint, commitment);
    return withContext(chain, commitment, uiAmount(token.amount, decimals));
  },

  getTokenSupply(chain, key, options) {
    const commitment = commitmentOf(chain, options);
    const { supply, decimals } = mintOf(chain, address(key), commitment);
    return withContext(chain, commitment, uiAmount(supply, decimals));
  },

  getTokenAccountsByOwner(chain, owner, filter, options) {
    const commitment = commitmentOf(chain, options);
    address(owner);
    const program = filter?.programId ? address(filter.programId) : mintOf(chain, address(filter?.mint), commitment).program;
    const found = [...chain.owned(program, commitment)].filter(([, account]) => {
      const token = tokenAccount(account);
      return token?.owner === owner && (filter.mint === undefined || token.mint === filter.mint);
    });
    return withContext(chain, commitment, found.map(([pubkey, account]) => ({ pubkey, account: encodeAccount(account, options) })));
  },

  getTokenLargestAccounts(chain, key, options) {
    const commitment = commitmentOf(chain, options);
    const { decimals, program } = mintOf(chain, address(key), commitment);
    const holders = [...chain.owned(program, commitment)]
      .map(([holder, account]) => ({ holder, token: tokenAccount(account) }))
      .filter(({ token }) => token?.mint === key)
      .sort((a, b) => (a.token.amount < b.token.amount ? 1 : -1))
      .slice(0, LARGEST);
    return withContext(chain, commitment, holders.map(({ holder, token }) => ({ address: holder, ...uiAmount(token.amount, decimals) })));
  },
};
