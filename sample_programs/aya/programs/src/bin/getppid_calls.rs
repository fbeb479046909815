// SPDX-License-Identifier: Apache-2.0
//! Counts calls of the C library's getppid() per process.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, uprobe},
    maps::HashMap,
    programs::ProbeContext,
};
use programs as _; // its panic handler

#[map]
static CALLS: HashMap<u32, u64> = HashMap::with_max_entries(1024, 0);

#[uprobe]
pub fn called(_ctx: ProbeContext) -> u32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    match CALLS.get_ptr_mut(&pid) {
        Some(count) => unsafe { *count += 1 },
        None => {
            let _ = CALLS.insert(&pid, &1, 0);
        }
    }
    0
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
