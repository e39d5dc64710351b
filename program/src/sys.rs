// SPDX-License-Identifier: Apache-2.0
//! The syscalls that the program uses.
//!
//! On the chain they are undefined symbols which the linker resolves, or, where
//! the toolchain has `static-syscalls`, calls of the hash of their names. Natively
//! they are the mocks of [`crate::host`], so that the same sources can be tested.

#[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
pub use crate::host::syscalls::*;
#[cfg(any(target_os = "solana", target_arch = "bpf"))]
pub use on_chain::*;

#[cfg(any(target_os = "solana", target_arch = "bpf"))]
mod on_chain {
    use crate::abi::Key;

    macro_rules! syscalls {
        ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
            #[cfg(not(target_feature = "static-syscalls"))]
            extern "C" {
                $(pub fn $name($($arg: $type),*) -> $ret;)*
            }
            $(
                #[cfg(target_feature = "static-syscalls")]
                #[inline(always)]
                pub unsafe fn $name($($arg: $type),*) -> $ret {
                    const HASH: usize = super::murmur3(stringify!($name).as_bytes()) as usize;
                    let call: extern "C" fn($($type),*) -> $ret = unsafe { core::mem::transmute(HASH) };
                    call($($arg),*)
                }
            )*
        };
    }

    syscalls! {
        fn sol_invoke_signed_c(instruction: *const u8, accounts: *const u8, accounts_len: u64, signers: *const u8, signers_len: u64) -> u64;
        fn sol_create_program_address(seeds: *const u8, seeds_len: u64, program: *const Key, address: *mut Key) -> u64;
        fn sol_try_find_program_address(seeds: *const u8, seeds_len: u64, program: *const Key, address: *mut Key, bump: *mut u8) -> u64;
        fn sol_get_clock_sysvar(clock: *mut u8) -> u64;
        fn sol_sha256(parts: *const u8, parts_len: u64, hash: *mut Key) -> u64;
        fn abort() -> !;
    }

    /// Nothing in the program panics: the linker refuses the panic functions of `core`.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        unsafe { abort() }
    }
}

/// The hash by which sBPF names syscalls: MurmurHash3, 32 bits, seed zero.
#[cfg_attr(not(target_feature = "static-syscalls"), allow(dead_code))]
pub const fn murmur3(bytes: &[u8]) -> u32 {
    const fn mix(k: u32) -> u32 {
        k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }
    let mut h = 0u32;
    let mut i = 0;
    while i + 4 <= bytes.len() {
        let k = u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        h = (h ^ mix(k)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        i += 4;
    }
    if i < bytes.len() {
        let mut k = 0u32;
        let mut j = bytes.len();
        while j > i {
            j -= 1;
            k = k << 8 | bytes[j] as u32;
        }
        h ^= mix(k);
    }
    h ^= bytes.len() as u32;
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}
