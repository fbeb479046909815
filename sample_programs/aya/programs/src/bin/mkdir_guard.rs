// SPDX-License-Identifier: Apache-2.0
//! An LSM program that refuses mkdir() to one process.
#![no_std]
#![no_main]

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::lsm, programs::LsmContext, Global};
use aya_log_ebpf::warn;
use programs as _; // its panic handler

const EPERM: i32 = 1;

/// The process that may make no directory; tests set it at the load.
#[no_mangle]
static GUARDED: Global<u32> = Global::new(0);

#[lsm(hook = "path_mkdir")]
pub fn mkdir_guard(ctx: LsmContext) -> i32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if pid != GUARDED.load() {
        return 0;
    }
    warn!(&ctx, "refused mkdir to {}", pid);
    -EPERM
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
