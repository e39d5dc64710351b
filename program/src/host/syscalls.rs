// SPDX-License-Identifier: Apache-2.0
//! The system calls of the model.

use super::{programs, sha256, Runtime};
use crate::abi::Key;
use std::cell::RefCell;
use std::slice;
use std::vec;
use std::vec::Vec;

std::thread_local! {
    static RUNTIME: RefCell<Runtime> = const { RefCell::new(Runtime { program: [0; 32], now: 0 }) };
}

pub(super) fn enter(runtime: &Runtime) {
    RUNTIME.with(|current| *current.borrow_mut() = runtime.clone());
}

/// A pointer with a length, as seeds and their lists come.
#[repr(C)]
struct Slice {
    bytes: *const u8,
    len: u64,
}

unsafe fn seeds<'a>(list: *const u8, len: u64) -> Vec<&'a [u8]> {
    unsafe {
        let list = slice::from_raw_parts(list as *const Slice, len as usize);
        list.iter().map(|seed| slice::from_raw_parts(seed.bytes, seed.len as usize)).collect()
    }
}

/// A stand-in for the real derivation: all that matters here is that different seeds give different keys.
pub(super) fn derive(seeds: &[&[u8]], program: &Key) -> Key {
    let mut state = [0xcbf2_9ce4_8422_2325u64, 1, 2, 3];
    for part in seeds.iter().copied().chain([&program[..]]) {
        for byte in part.iter().chain(&[0xfe]) {
            for (i, word) in state.iter_mut().enumerate() {
                *word = (*word ^ *byte as u64).wrapping_mul(0x100_0000_01b3 + 2 * i as u64).rotate_left(9);
            }
        }
    }
    let mut key = [0; 32];
    for (chunk, word) in key.chunks_exact_mut(8).zip(state) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    key
}

/// The canonical address. In this model the canonical bump is always 255.
pub(super) fn find(seeds: &[&[u8]], program: &Key) -> (Key, u8) {
    let mut seeds = seeds.to_vec();
    seeds.push(&[255]);
    (derive(&seeds, program), 255)
}

/// See the runtime's documentation.
///
/// # Safety
/// The pointers are those of a system call.
pub unsafe fn sol_create_program_address(
    list: *const u8,
    len: u64,
    program: *const Key,
    address: *mut Key,
) -> u64 {
    unsafe { *address = derive(&seeds(list, len), &*program) };
    0
}

/// See the runtime's documentation.
///
/// # Safety
/// The pointers are those of a system call.
pub unsafe fn sol_try_find_program_address(
    list: *const u8,
    len: u64,
    program: *const Key,
    address: *mut Key,
    bump: *mut u8,
) -> u64 {
    unsafe { (*address, *bump) = find(&seeds(list, len), &*program) };
    0
}

/// See the runtime's documentation.
///
/// # Safety
/// The pointer is that of a system call.
pub unsafe fn sol_get_clock_sysvar(clock: *mut u8) -> u64 {
    let now = RUNTIME.with(|current| current.borrow().now);
    unsafe { (clock as *mut [i64; 5]).write_unaligned([1, 2, 3, 4, now]) };
    0
}

/// See the runtime's documentation.
///
/// # Safety
/// The pointers are those of a system call.
pub unsafe fn sol_sha256(parts: *const u8, len: u64, hash: *mut Key) -> u64 {
    unsafe { *hash = sha256::digest(&seeds(parts, len).concat()) };
    0
}

/// `SolAccountInfo`.
#[repr(C)]
pub(super) struct Info {
    pub key: *const Key,
    pub lamports: *mut u64,
    len: u64,
    data: *mut u8,
    pub owner: *mut Key,
    rent_epoch: u64,
    signer: u8,
    writable: u8,
    executable: u8,
}

#[repr(C)]
struct Instruction {
    program: *const Key,
    metas: *const Meta,
    metas_len: u64,
    data: *const u8,
    data_len: u64,
}

#[repr(C)]
struct Meta {
    key: *const Key,
    writable: u8,
    signer: u8,
}

/// An account as a called program sees it.
pub(super) struct Called {
    info: *mut Info,
    pub writable: bool,
    pub signer: bool,
}

impl Called {
    pub(super) fn key(&self) -> Key {
        unsafe { *(*self.info).key }
    }
    pub(super) fn owner(&self) -> Key {
        unsafe { *(*self.info).owner }
    }
    pub(super) fn set_owner(&self, owner: &Key) {
        unsafe { *(*self.info).owner = *owner }
    }
    pub(super) fn lamports(&self) -> u64 {
        unsafe { *(*self.info).lamports }
    }
    pub(super) fn set_lamports(&self, lamports: u64) {
        unsafe { *(*self.info).lamports = lamports }
    }
    /// The length, which the runtime keeps before the data.
    pub(super) fn len(&self) -> u64 {
        unsafe { *((*self.info).data.sub(8) as *const u64) }
    }
    /// Sets the length and clears the data.
    pub(super) fn resize(&self, len: u64) {
        unsafe {
            *((*self.info).data.sub(8) as *mut u64) = len;
            (*self.info).data.write_bytes(0, len as usize);
        }
    }
    /// A copy of the data.
    pub(super) fn data(&self) -> Vec<u8> {
        unsafe { slice::from_raw_parts((*self.info).data, self.len() as usize) }.to_vec()
    }
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len() as usize);
        unsafe { (*self.info).data.add(at).copy_from(bytes.as_ptr(), bytes.len()) };
    }
}

/// What a call of another program does: the rules about privileges first, then its effect.
///
/// # Safety
/// The pointers are those of a system call.
pub unsafe fn sol_invoke_signed_c(
    instruction: *const u8,
    infos: *const u8,
    infos_len: u64,
    signers: *const u8,
    signers_len: u64,
) -> u64 {
    const MISSING: u64 = 21 << 32;
    const ESCALATION: u64 = 22 << 32;
    let own = RUNTIME.with(|current| current.borrow().program);
    unsafe {
        let instruction = &*(instruction as *const Instruction);
        let infos = slice::from_raw_parts_mut(infos as *mut Info, infos_len as usize);
        let signers: Vec<Key> = slice::from_raw_parts(signers as *const Slice, signers_len as usize)
            .iter()
            .map(|list| derive(&seeds(list.bytes, list.len), &own))
            .collect();
        let mut called = vec![];
        for meta in slice::from_raw_parts(instruction.metas, instruction.metas_len as usize) {
            let Some(info) = infos.iter_mut().find(|info| *info.key == *meta.key) else { return MISSING };
            let may_sign = info.signer != 0 || signers.contains(&*meta.key);
            if meta.writable != 0 && info.writable == 0 || meta.signer != 0 && !may_sign {
                return ESCALATION;
            }
            called.push(Called { info, writable: meta.writable != 0, signer: meta.signer != 0 });
        }
        if !infos.iter().any(|info| *info.key == *instruction.program) {
            return MISSING;
        }
        let data = slice::from_raw_parts(instruction.data, instruction.data_len as usize);
        match programs::call(&*instruction.program, &called, data) {
            Ok(()) => 0,
            Err(code) => code,
        }
    }
}
