// SPDX-License-Identifier: Apache-2.0
//! The Solana program ABI: the input buffer, account views, program addresses and
//! calls of other programs.
//!
//! All `unsafe` code of the program is in this file and in `sys.rs`, except for
//! the entrypoint itself and the claims that the accounts' layouts are plain records.

use crate::error::{check, syscall, Error, Result};
use crate::sys;
use core::{marker::PhantomData, mem::MaybeUninit, slice};

/// An address.
pub type Key = [u8; 32];

/// The most accounts that an instruction of this program may name.
pub const MAX_ACCOUNTS: usize = 16;

/// The room that the runtime leaves behind every account's data.
const GROWTH: usize = 10_240;

/// One account of the instruction, in the layout (`SolAccountInfo`) in which the
/// runtime wants it back for a call of another program.
///
/// The pointers lead into the input buffer. Lamports, length and data are read
/// there each time, because a call of another program may change them.
#[repr(C)]
pub struct Account<'a> {
    key: *const Key,
    lamports: *mut u64,
    data_len: u64,
    data: *mut u8,
    owner: *const Key,
    rent_epoch: u64,
    signer: bool,
    writable: bool,
    executable: bool,
    input: PhantomData<&'a ()>,
}

impl<'a> Account<'a> {
    /// The account's address.
    #[inline(always)]
    pub fn key(&self) -> &'a Key {
        unsafe { &*self.key }
    }

    /// Whether the account belongs to this program now.
    #[inline(always)]
    pub fn owned_by(&self, program: &Key) -> bool {
        unsafe { *self.owner == *program }
    }

    /// Whether the account signed the transaction.
    #[inline(always)]
    pub fn is_signer(&self) -> bool {
        self.signer
    }

    /// The account's lamports now.
    #[inline(always)]
    pub fn lamports(&self) -> u64 {
        unsafe { *self.lamports }
    }

    /// The length of the data now. The runtime keeps it in the eight bytes before the data.
    #[inline(always)]
    pub fn data_len(&self) -> usize {
        unsafe { *(self.data.sub(8) as *const u64) as usize }
    }

    /// A copy of `N` bytes of the data at `offset`.
    #[inline(always)]
    pub fn get<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset.checked_add(N)? > self.data_len() {
            return None;
        }
        Some(unsafe { *(self.data.add(offset) as *const [u8; N]) })
    }

    /// The whole data. It must not be held across a call of another program or a `store`.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        unsafe { slice::from_raw_parts(self.data, self.data_len()) }
    }

    /// Copies the data to a record. False if its length is not exactly the record's.
    #[inline(always)]
    pub fn load<T: Plain>(&self, record: &mut T) -> bool {
        if self.data_len() != size_of::<T>() {
            return false;
        }
        // The runtime aligns account data to eight bytes.
        unsafe { (record as *mut T).copy_from(self.data as *const T, 1) };
        true
    }

    /// Overwrites the data with a record. False if the length differs or the account is read-only.
    #[inline(never)]
    pub fn store<T: Plain>(&self, record: &T) -> bool {
        if self.data_len() != size_of::<T>() || !self.writable {
            return false;
        }
        unsafe { (self.data as *mut T).copy_from(record, 1) };
        true
    }
}

/// A record that may be copied to and from account data.
///
/// # Safety
/// The type is `repr(C)` without padding, every bit pattern is a value of it, and
/// its alignment is at most eight.
pub unsafe trait Plain: Sized {
    /// A record of zeros, to be filled.
    #[inline(always)]
    fn empty() -> Self {
        unsafe { MaybeUninit::zeroed().assume_init() }
    }
}

/// The record that these bytes hold, if their number is exactly the record's.
#[inline(always)]
pub fn parse<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    Some(unsafe { (bytes.as_ptr() as *const T).read_unaligned() })
}

/// How a called program gets an account.
#[repr(C)]
pub struct Meta<'a> {
    key: &'a Key,
    writable: bool,
    signer: bool,
}

impl<'a> Meta<'a> {
    /// An account that is only read.
    #[inline(always)]
    pub fn read(account: &Account<'a>) -> Self {
        Meta { key: account.key(), writable: false, signer: false }
    }

    /// An account that may be changed.
    #[inline(always)]
    pub fn write(account: &Account<'a>) -> Self {
        Meta { key: account.key(), writable: true, signer: false }
    }

    /// The same account as a signer.
    #[inline(always)]
    pub fn signed(self) -> Self {
        Meta { signer: true, ..self }
    }
}

/// One seed of a program address.
#[repr(C)]
pub struct Seed<'a> {
    bytes: *const u8,
    len: u64,
    life: PhantomData<&'a [u8]>,
}

impl<'a> Seed<'a> {
    /// A seed of these bytes.
    #[inline(always)]
    pub fn new(bytes: &'a [u8]) -> Self {
        Seed { bytes: bytes.as_ptr(), len: bytes.len() as u64, life: PhantomData }
    }
}

#[repr(C)]
struct Signer<'a> {
    seeds: *const Seed<'a>,
    len: u64,
}

#[repr(C)]
struct Instruction<'a> {
    program: &'a Key,
    metas: *const Meta<'a>,
    metas_len: u64,
    data: *const u8,
    data_len: u64,
}

/// Calls another program. Unless `seeds` is empty, their program address signs.
#[inline(always)]
pub fn invoke(program: &Key, metas: &[Meta], data: &[u8], accounts: &[Account], seeds: &[Seed]) -> Result {
    let instruction = Instruction {
        program,
        metas: metas.as_ptr(),
        metas_len: metas.len() as u64,
        data: data.as_ptr(),
        data_len: data.len() as u64,
    };
    let signer = Signer { seeds: seeds.as_ptr(), len: seeds.len() as u64 };
    syscall(unsafe {
        sys::sol_invoke_signed_c(
            &instruction as *const Instruction as *const u8,
            accounts.as_ptr() as *const u8,
            accounts.len() as u64,
            &signer as *const Signer as *const u8,
            !seeds.is_empty() as u64,
        )
    })
}

/// Refuses an address that is not the canonical program address of these seeds.
#[inline(always)]
pub fn check_address(seeds: &[Seed], program: &Key, address: &Key, bump: u8) -> Result {
    check(is_canonical(seeds, program, address, bump), Error::PDA)
}

/// Whether `address` and `bump` are the canonical program address of the seeds.
#[inline(always)]
fn is_canonical(seeds: &[Seed], program: &Key, address: &Key, bump: u8) -> bool {
    let mut found = MaybeUninit::<Key>::uninit();
    let mut found_bump = 0u8;
    let code = unsafe {
        sys::sol_try_find_program_address(
            seeds.as_ptr() as *const u8,
            seeds.len() as u64,
            program,
            found.as_mut_ptr(),
            &mut found_bump,
        )
    };
    code == 0 && found_bump == bump && unsafe { found.assume_init() } == *address
}

/// Whether `address` is the program address of the seeds, the last of which is a
/// bump that was found to be canonical before.
#[inline(always)]
pub fn is_derived(seeds: &[Seed], program: &Key, address: &Key) -> bool {
    let mut derived = MaybeUninit::<Key>::uninit();
    let code = unsafe {
        sys::sol_create_program_address(
            seeds.as_ptr() as *const u8,
            seeds.len() as u64,
            program,
            derived.as_mut_ptr(),
        )
    };
    code == 0 && unsafe { derived.assume_init() } == *address
}

/// The SHA-256 digest of the parts, one after the other. They come in the layout of seeds.
#[inline(always)]
pub fn sha256(parts: &[Seed]) -> Result<Key> {
    let mut hash = MaybeUninit::<Key>::uninit();
    syscall(unsafe { sys::sol_sha256(parts.as_ptr() as *const u8, parts.len() as u64, hash.as_mut_ptr()) })?;
    Ok(unsafe { hash.assume_init() })
}

/// The cluster's time in Unix seconds.
pub fn now() -> Result<i64> {
    // slot, epoch start, epoch, leader schedule epoch, Unix time
    let mut clock = MaybeUninit::<[i64; 5]>::uninit();
    syscall(unsafe { sys::sol_get_clock_sysvar(clock.as_mut_ptr() as *mut u8) })?;
    let [_, _, _, _, unix] = unsafe { clock.assume_init() };
    Ok(unix)
}

/// Reads the input buffer and calls `f` with program id, accounts and instruction data.
///
/// # Safety
/// `input` is the runtime's input buffer in the aligned layout (loaders v2 and
/// later), or a faithful image of one that is aligned to eight bytes.
#[inline(always)]
pub unsafe fn with_input(input: *mut u8, f: impl FnOnce(&Key, &[Account], &[u8]) -> Result) -> Result {
    let mut views = [const { MaybeUninit::<Account>::uninit() }; MAX_ACCOUNTS];
    let views = views.as_mut_ptr() as *mut Account;
    unsafe {
        let count = *(input as *const u64) as usize;
        if count > MAX_ACCOUNTS {
            return Err(Error::ARGUMENT);
        }
        let mut at = input.add(8);
        for i in 0..count {
            let first = *at as usize;
            if first != 0xff {
                // The same account again: one byte names its first place, seven pad.
                if first >= i {
                    return Err(Error::ARGUMENT);
                }
                views.add(i).copy_from(views.add(first), 1);
                at = at.add(8);
                continue;
            }
            let data_len = *(at.add(80) as *const u64);
            let data = at.add(88);
            let end = data.add(data_len as usize).add(GROWTH);
            let end = end.add((end as usize).wrapping_neg() & 7);
            views.add(i).write(Account {
                key: at.add(8) as *const Key,
                owner: at.add(40) as *const Key,
                lamports: at.add(72) as *mut u64,
                data_len,
                data,
                rent_epoch: *(end as *const u64),
                signer: *at.add(1) != 0,
                writable: *at.add(2) != 0,
                executable: *at.add(3) != 0,
                input: PhantomData,
            });
            at = end.add(8);
        }
        let data_len = *(at as *const u64) as usize;
        let data = at.add(8);
        let program = &*(data.add(data_len) as *const Key);
        f(program, slice::from_raw_parts(views, count), slice::from_raw_parts(data, data_len))
    }
}
