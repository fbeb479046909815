// SPDX-License-Identifier: Apache-2.0
//! Drops UDP to ports in a map, counts it per port, and says so through aya-log.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::HashMap,
    macros::{btf_map, xdp},
    programs::XdpContext,
    Global,
};
use aya_log_ebpf::{info, warn};

const ETH_LEN: usize = 14;
const IP_LEN: usize = 20;
const ETH_P_IP: u16 = 0x0800;
const IPPROTO_UDP: u8 = 17;

/// What became of a port, in a struct of our own: tests read and write it as a dict.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Port {
    pub hits: u64,
    pub last_source: u32,
    pub action: Action,
}

#[repr(u32)]
#[derive(Clone, Copy)]
pub enum Action {
    Watch = 0,
    Drop = 1,
}

#[btf_map]
static PORTS: HashMap<u16, Port, 64> = HashMap::new();

/// Packets shorter than this are passed unseen. A constant: tests set it when they load the object.
#[no_mangle]
static SHORTEST: Global<u32> = Global::new(0);

/// How many packets were looked at.
#[no_mangle]
static mut SEEN: u64 = 0;

#[xdp]
pub fn port_filter(ctx: XdpContext) -> u32 {
    filter(&ctx).unwrap_or(xdp_action::XDP_PASS)
}

fn filter(ctx: &XdpContext) -> Option<u32> {
    let length = (ctx.data_end() - ctx.data()) as u32;
    if length < SHORTEST.load() {
        return None;
    }
    unsafe { SEEN += 1 };
    if u16::from_be(read(ctx, 12)?) != ETH_P_IP || read::<u8>(ctx, ETH_LEN + 9)? != IPPROTO_UDP {
        return None;
    }
    let source = u32::from_be(read(ctx, ETH_LEN + 12)?);
    let port = u16::from_be(read(ctx, ETH_LEN + IP_LEN + 2)?);
    let found = unsafe { &mut *PORTS.get_ptr_mut(&port)? };
    found.hits += 1;
    found.last_source = source;
    match found.action {
        Action::Watch => {
            info!(ctx, "port {} from {:i}", port, source);
            None
        }
        Action::Drop => {
            warn!(ctx, "dropped {} bytes to port {}", length, port);
            Some(xdp_action::XDP_DROP)
        }
    }
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
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
