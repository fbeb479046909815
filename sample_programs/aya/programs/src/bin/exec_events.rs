// SPDX-License-Identifier: Apache-2.0
//! Sends a record for each program that is started (tracepoint) and each process that ends (kprobe), through a ring buffer.
#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{kprobe, map, tracepoint},
    maps::RingBuf,
    programs::{ProbeContext, TracePointContext},
};
use programs as _; // its panic handler

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Event {
    pub pid: u32,
    pub what: What,
    pub comm: [u8; 16],
}

#[repr(u32)]
#[derive(Clone, Copy)]
pub enum What {
    Exec = 1,
    Exit = 2,
}

#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// Mentions the type of the records, so that the object's BTF has it.
#[no_mangle]
static EVENT: Event = Event { pid: 0, what: What::Exec, comm: [0; 16] };

#[tracepoint(category = "sched", name = "sched_process_exec")]
pub fn started(_ctx: TracePointContext) -> u32 {
    let _ = try_send(What::Exec);
    0
}

#[kprobe(function = "do_exit")]
pub fn ended(_ctx: ProbeContext) -> u32 {
    let _ = try_send(What::Exit);
    0
}

fn try_send(what: What) -> Result<(), i32> {
    let comm = bpf_get_current_comm().map_err(|error| error as i32)?;
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let mut entry = EVENTS.reserve::<Event>(0).ok_or(-1)?;
    entry.write(Event { pid, what, comm });
    entry.submit(0);
    Ok(())
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
