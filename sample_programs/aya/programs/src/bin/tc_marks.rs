// SPDX-License-Identifier: Apache-2.0
//! A classifier that marks TCP by its destination port, and drops what a map says. Maps of the dialect `btf_maps`.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::{TC_ACT_OK, TC_ACT_SHOT},
    btf_maps::HashMap,
    macros::{btf_map, classifier},
    programs::TcContext,
};
use aya_log_ebpf::warn;
use programs::{ETH_LEN, ETH_P_IP, IPPROTO_TCP, IP_LEN};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rule {
    pub mark: u32,
    pub drop: u32,
}

#[btf_map]
static RULES: HashMap<u16, Rule, 64> = HashMap::new();

#[no_mangle]
static mut MARKED: u64 = 0;

#[classifier]
pub fn tc_marks(ctx: TcContext) -> i32 {
    try_tc_marks(&ctx).unwrap_or(TC_ACT_OK as i32)
}

fn try_tc_marks(ctx: &TcContext) -> Result<i32, i64> {
    if u16::from_be(ctx.load(12)?) != ETH_P_IP || ctx.load::<u8>(ETH_LEN + 9)? != IPPROTO_TCP {
        return Ok(TC_ACT_OK as i32);
    }
    let port = u16::from_be(ctx.load(ETH_LEN + IP_LEN + 2)?);
    let Some(rule) = RULES.get_ptr(&port) else {
        return Ok(TC_ACT_OK as i32);
    };
    let rule = unsafe { *rule };
    if rule.drop != 0 {
        warn!(ctx, "dropped port {} of {} bytes", port, ctx.len());
        return Ok(TC_ACT_SHOT as i32);
    }
    unsafe {
        (*ctx.skb.skb).mark = rule.mark;
        MARKED += 1;
    }
    Ok(TC_ACT_OK as i32)
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
