// SPDX-License-Identifier: Apache-2.0
//! Counts what a control group sends, and refuses datagrams to one port.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::Array,
    macros::{btf_map, cgroup_skb},
    programs::SkBuffContext,
    Global,
};
use programs::{IPPROTO_UDP, IP_LEN};

#[btf_map]
static BYTES: Array<u64, 1> = Array::new();

#[no_mangle]
static REFUSED_PORT: Global<u32> = Global::new(0);

#[cgroup_skb(egress)]
pub fn cgroup_egress(ctx: SkBuffContext) -> i32 {
    try_cgroup_egress(&ctx).unwrap_or(1)
}

fn try_cgroup_egress(ctx: &SkBuffContext) -> Result<i32, i64> {
    if let Some(bytes) = BYTES.get_ptr_mut(0) {
        unsafe { *bytes += ctx.len() as u64 };
    }
    if ctx.load::<u8>(0)? >> 4 != 4 || ctx.load::<u8>(9)? != IPPROTO_UDP {
        return Ok(1);
    }
    let port = u16::from_be(ctx.load(IP_LEN + 2)?);
    Ok((port as u32 != REFUSED_PORT.load()) as i32)
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
