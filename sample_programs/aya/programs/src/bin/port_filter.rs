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
use programs::{read, ETH_LEN, ETH_P_IP, IPPROTO_UDP, IP_LEN};

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
    try_port_filter(&ctx).unwrap_or(xdp_action::XDP_PASS)
}

fn try_port_filter(ctx: &XdpContext) -> Result<u32, ()> {
    let (data, end) = (ctx.data(), ctx.data_end());
    let length = (end - data) as u32;
    if length < SHORTEST.load() {
        return Ok(xdp_action::XDP_PASS);
    }
    unsafe { SEEN += 1 };
    if u16::from_be(read(data, end, 12)?) != ETH_P_IP || read::<u8>(data, end, ETH_LEN + 9)? != IPPROTO_UDP {
        return Ok(xdp_action::XDP_PASS);
    }
    let source = u32::from_be(read(data, end, ETH_LEN + 12)?);
    let port = u16::from_be(read(data, end, ETH_LEN + IP_LEN + 2)?);
    let found = unsafe { &mut *PORTS.get_ptr_mut(&port).ok_or(())? };
    found.hits += 1;
    found.last_source = source;
    match found.action {
        Action::Watch => {
            info!(ctx, "port {} from {:i}", port, source);
            Ok(xdp_action::XDP_PASS)
        }
        Action::Drop => {
            warn!(ctx, "dropped {} bytes to port {}", length, port);
            Ok(xdp_action::XDP_DROP)
        }
    }
}

#[link_section = "license"]
#[no_mangle]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
