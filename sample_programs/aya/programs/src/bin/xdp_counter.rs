// SPDX-License-Identifier: Apache-2.0
//! Counts packets per protocol on each CPU, and drops those of addresses in a map. Maps of the dialect `maps`.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{HashMap, PerCpuArray},
    programs::XdpContext,
};
use aya_log_ebpf::{debug, info};
use programs::{read, ETH_LEN, ETH_P_IP};

#[map]
static PACKETS: PerCpuArray<u64> = PerCpuArray::with_max_entries(256, 0);

#[map]
static BLOCKED: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

#[xdp]
pub fn xdp_counter(ctx: XdpContext) -> u32 {
    match try_xdp_counter(&ctx) {
        Ok(action) => action,
        Err(()) => xdp_action::XDP_ABORTED,
    }
}

fn try_xdp_counter(ctx: &XdpContext) -> Result<u32, ()> {
    let (data, end) = (ctx.data(), ctx.data_end());
    if u16::from_be(read(data, end, 12)?) != ETH_P_IP {
        return Ok(xdp_action::XDP_PASS);
    }
    let protocol: u8 = read(data, end, ETH_LEN + 9)?;
    let source = u32::from_be(read(data, end, ETH_LEN + 12)?);
    if let Some(count) = PACKETS.get_ptr_mut(protocol as u32) {
        unsafe { *count += 1 };
    }
    if BLOCKED.get_ptr(&source).is_some() {
        info!(ctx, "dropped {:i}, protocol {}", source, protocol);
        return Ok(xdp_action::XDP_DROP);
    }
    debug!(ctx, "passed {:i}", source);
    Ok(xdp_action::XDP_PASS)
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
