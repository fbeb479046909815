// SPDX-License-Identifier: Apache-2.0
//! What the programs have in common: numbers at an offset of a packet, and the panic handler.
#![no_std]

#[allow(warnings)] // generated: pytest-ebpf btf bindings sock_common --btf 6.12
pub mod vmlinux;

use core::mem::size_of;

pub const ETH_LEN: usize = 14;
pub const IP_LEN: usize = 20;
pub const ETH_P_IP: u16 = 0x0800;
pub const IPPROTO_TCP: u8 = 6;
pub const IPPROTO_UDP: u8 = 17;

/// A number at `offset` of the packet from `data` to `data_end`; `Err` behind its end, for functions that end with `?`.
#[inline(always)]
pub fn read<T: Copy>(data: usize, data_end: usize, offset: usize) -> Result<T, ()> {
    let start = data + offset;
    if start + size_of::<T>() > data_end {
        return Err(());
    }
    Ok(unsafe { (start as *const T).read_unaligned() })
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
