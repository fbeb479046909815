// SPDX-License-Identifier: Apache-2.0
//! Follows pointers from the socket that connects to the name of its protocol, with generated bindings:
//! `pytest-ebpf btf bindings sock_common --btf 6.12 -o src/vmlinux.rs`.
//!
//! Rust has no CO-RE. The fields of `sock_common` lie at the same offsets from Linux 5.10 to 7.3; `proto.name` does not, so the
//! test takes its offset from the BTF of the kernel and sets it at the load.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes},
    macros::{kprobe, map},
    maps::RingBuf,
    programs::ProbeContext,
    Global,
};
use programs::vmlinux::sock_common;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Connect {
    pub address: u32,
    pub port: u16,
    pub family: u16,
    pub protocol: [u8; 32],
}

#[map]
static CONNECTS: RingBuf = RingBuf::with_byte_size(1 << 14, 0);

#[no_mangle]
static CONNECT: Connect = Connect { address: 0, port: 0, family: 0, protocol: [0; 32] };

#[no_mangle]
static NAME_OFFSET: Global<u32> = Global::new(0);

#[kprobe(function = "tcp_connect")]
pub fn connect_chase(ctx: ProbeContext) -> u32 {
    try_connect_chase(&ctx).is_err() as u32
}

fn try_connect_chase(ctx: &ProbeContext) -> Result<(), i32> {
    let sock: *const sock_common = ctx.arg(0).ok_or(-1)?;
    let common = unsafe { bpf_probe_read_kernel(sock)? };
    let name = common.skc_prot as usize + NAME_OFFSET.load() as usize;
    let mut entry = CONNECTS.reserve::<Connect>(0).ok_or(-1)?;
    let found = entry.write(Connect { address: 0, port: 0, family: common.skc_family, protocol: [0; 32] });
    unsafe {
        let place = common.__bindgen_anon_1.__bindgen_anon_1;
        found.address = u32::from_be(place.skc_daddr);
        found.port = u16::from_be(common.__bindgen_anon_3.__bindgen_anon_1.skc_dport);
        let _ = bpf_probe_read_kernel_str_bytes(name as *const u8, &mut found.protocol);
    }
    entry.submit(0);
    Ok(())
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
