// SPDX-License-Identifier: Apache-2.0
//! Puts established connections of a control group into a sock hash, and hands messages from one end to the other.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{sk_action, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB},
    macros::{map, sk_msg, sock_ops},
    maps::SockHash,
    programs::{SkMsgContext, SockOpsContext},
};
use programs as _; // its panic handler

/// A connection as one of its ends sees it, in the byte order of the machine.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ports {
    pub local: u32,
    pub remote: u32,
}

#[map]
static SOCKETS: SockHash<Ports> = SockHash::with_max_entries(64, 0);

#[no_mangle]
static mut ESTABLISHED: u64 = 0;

#[no_mangle]
static mut REDIRECTED: u64 = 0;

#[sock_ops]
pub fn established(ctx: SockOpsContext) -> u32 {
    if ctx.op() == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || ctx.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        let mut key = Ports { local: ctx.local_port(), remote: u32::from_be(ctx.remote_port()) };
        let sock = unsafe { &mut *ctx.ops };
        if SOCKETS.update(&mut key, sock, 0).is_ok() {
            unsafe { ESTABLISHED += 1 };
        }
    }
    0
}

#[sk_msg]
pub fn short_cut(ctx: SkMsgContext) -> u32 {
    let msg = unsafe { &*ctx.msg };
    let mut other = Ports { local: u32::from_be(msg.remote_port), remote: msg.local_port };
    unsafe { REDIRECTED += 1 };
    SOCKETS.redirect_msg(&ctx, &mut other, 1) as u32; // BPF_F_INGRESS
    sk_action::SK_PASS
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
