// SPDX-License-Identifier: Apache-2.0

/**
 * @file Errors as a node says them: JSON-RPC codes, and the runtime's transaction errors in JSON and in words.
 */

/** The JSON-RPC codes that clients act on. */
export const CODE = Object.freeze({
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  preflight: -32002,
  signature: -32003,
  unhealthy: -32005,
  slotMissing: -32009,
  unsupportedVersion: -32015,
  minContextSlot: -32016,
});

/** An error that is answered to the caller as it is. */
export class RpcError extends Error {
  /**
   * @param {number} code
   * @param {string} message
   * @param {unknown} [data]
   */
  constructor(code, message, data) {
    super(message);
    this.name = 'RpcError';
    this.code = code;
    this.data = data;
  }

  toJSON() {
    return { code: this.code, message: this.message, ...(this.data === undefined ? {} : { data: this.data }) };
  }
}

/** @param {string} message */
export function invalidParams(message) {
  return new RpcError(CODE.invalidParams, message.startsWith('Invalid') ? `Invalid param: ${message}` : message);
}

/** Variants of the runtime's transaction error without fields, in the order of their numbers. */
const TRANSACTION_ERRORS = `
AccountInUse AccountLoadedTwice AccountNotFound ProgramAccountNotFound InsufficientFundsForFee InvalidAccountForFee
AlreadyProcessed BlockhashNotFound CallChainTooDeep MissingSignatureForFee InvalidAccountIndex SignatureFailure
InvalidProgramForExecution SanitizeFailure ClusterMaintenance AccountBorrowOutstanding WouldExceedMaxBlockCostLimit
UnsupportedVersion InvalidWritableAccount WouldExceedMaxAccountCostLimit WouldExceedAccountDataBlockLimit
TooManyAccountLocks AddressLookupTableNotFound InvalidAddressLookupTableOwner InvalidAddressLookupTableData
InvalidAddressLookupTableIndex InvalidRentPayingAccount WouldExceedMaxVoteCostLimit WouldExceedAccountDataTotalLimit
MaxLoadedAccountsDataSizeExceeded ResanitizationNeeded InvalidLoadedAccountsDataSizeLimit UnbalancedTransaction
ProgramCacheHitMaxLimit CommitCancelled`.trim().split(/\s+/);

/** Variants of the runtime's instruction error without fields, in the order of their numbers. */
const INSTRUCTION_ERRORS = `
GenericError InvalidArgument InvalidInstructionData InvalidAccountData AccountDataTooSmall InsufficientFunds
IncorrectProgramId MissingRequiredSignature AccountAlreadyInitialized UninitializedAccount UnbalancedInstruction
ModifiedProgramId ExternalAccountLamportSpend ExternalAccountDataModified ReadonlyLamportChange ReadonlyDataModified
DuplicateAccountIndex ExecutableModified RentEpochModified NotEnoughAccountKeys AccountDataSizeChanged
AccountNotExecutable AccountBorrowFailed AccountBorrowOutstanding DuplicateAccountOutOfSync InvalidError
ExecutableDataModified ExecutableLamportChange ExecutableAccountNotRentExempt UnsupportedProgramId CallDepth
MissingAccount ReentrancyNotAllowed MaxSeedLengthExceeded InvalidSeeds InvalidRealloc ComputationalBudgetExceeded
PrivilegeEscalation ProgramEnvironmentSetupFailure ProgramFailedToComplete ProgramFailedToCompile Immutable
IncorrectAuthority AccountNotRentExempt InvalidAccountOwner ArithmeticOverflow UnsupportedSysvar IllegalOwner
MaxAccountsDataAllocationsExceeded MaxAccountsExceeded MaxInstructionTraceLengthExceeded
BuiltinProgramsMustConsumeComputeUnits BorshIoError`.trim().split(/\s+/);

/**
 * @param {any} error The runtime's instruction error.
 * @returns {string | {Custom: number} | {BorshIoError: string}}
 */
function instructionError(error) {
  if (typeof error === 'number') return INSTRUCTION_ERRORS[error];
  if (error.code !== undefined) return { Custom: error.code };
  return { BorshIoError: String(error.msg) };
}

/**
 * Renders the runtime's transaction error as nodes do in JSON.
 *
 * @param {any} error
 * @returns {string | object}
 */
export function transactionError(error) {
  if (typeof error === 'number') return TRANSACTION_ERRORS[error];
  switch (error.constructor.name) {
    case 'TransactionErrorInstructionError':
      return { InstructionError: [error.index, instructionError(error.err())] };
    case 'TransactionErrorDuplicateInstruction':
      return { DuplicateInstruction: error.index };
    case 'TransactionErrorInsufficientFundsForRent':
      return { InsufficientFundsForRent: { account_index: error.accountIndex } };
    case 'TransactionErrorProgramExecutionTemporarilyRestricted':
      return { ProgramExecutionTemporarilyRestricted: { account_index: error.accountIndex } };
    default:
      throw new TypeError(`unknown transaction error: ${error}`);
  }
}

const WORDS = {
  AccountNotFound: 'Attempt to debit an account but found no record of a prior credit.',
  AlreadyProcessed: 'This transaction has already been processed',
  BlockhashNotFound: 'Blockhash not found',
  InsufficientFundsForFee: 'Insufficient funds for fee',
  InvalidAccountForFee: 'This account may not be used to pay transaction fees',
  ProgramAccountNotFound: 'Attempt to load a program that does not exist',
  AddressLookupTableNotFound: 'Transaction loads an address table account that doesn\'t exist',
};

/**
 * Says a transaction error in words, as nodes put it after "Transaction simulation failed: ".
 *
 * @param {string | any} error
 * @returns {string}
 */
export function describe(error) {
  if (typeof error === 'string') return WORDS[error] ?? error;
  if (error.InstructionError) {
    const [index, cause] = error.InstructionError;
    const words = cause.Custom === undefined ? JSON.stringify(cause) : `custom program error: 0x${cause.Custom.toString(16)}`;
    return `Error processing Instruction ${index}: ${words}`;
  }
  if (error.InsufficientFundsForRent) {
    return `Transaction results in an account (${error.InsufficientFundsForRent.account_index}) with insufficient funds for rent`;
  }
  return JSON.stringify(error);
}
