// SPDX-License-Identifier: GPL-2.0-only
//! Drops UDP packets to closed ports, counts them, and says so through aya-log.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::HashMap,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use aya_log_ebpf::info;

const ETH_LEN: usize = 14;
const IP_LEN: usize = 20;
const ETH_P_IP: u16 = 0x0800;
const IPPROTO_UDP: u8 = 17;

/// A closed port -> how many packets were dropped there.
#[btf_map]
static CLOSED: HashMap<u16, u64, 64> = HashMap::new();

#[xdp]
pub fn port_guard(ctx: XdpContext) -> u32 {
    filter(&ctx).unwrap_or(xdp_action::XDP_PASS)
}

fn filter(ctx: &XdpContext) -> Option<u32> {
    if u16::from_be(read(ctx, 12)?) != ETH_P_IP || read::<u8>(ctx, ETH_LEN + 9)? != IPPROTO_UDP {
        return None;
    }
    let port = u16::from_be(read(ctx, ETH_LEN + IP_LEN + 2)?);
    let dropped = unsafe { &mut *CLOSED.get_ptr_mut(&port)? };
    *dropped += 1;
    info!(ctx, "dropped a packet to port {}", port);
    Some(xdp_action::XDP_DROP)
}

/// A number at `offset` of the packet, None behind its end.
fn read<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    Some(unsafe { (start as *const T).read_unaligned() })
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[link_section = "license"]
#[no_mangle]
static LICENSE: [u8; 4] = *b"GPL\0";
