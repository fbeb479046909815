// SPDX-License-Identifier: Apache-2.0
//! XDP programs that log every kind of value of aya-log, with every hint that it may have; the values are the packet's.
#![no_std]
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};
use aya_log_ebpf::{debug, error, info, trace, warn};

const LENGTH: usize = 64;
type Bytes = [u8; LENGTH];

/// The first bytes of the packet; zeros where it is shorter.
fn bytes_of(ctx: &XdpContext) -> Bytes {
    let start = ctx.data();
    if start + LENGTH > ctx.data_end() {
        return [0; LENGTH];
    }
    unsafe { *(start as *const Bytes) }
}

fn at<T: Copy>(bytes: &Bytes, offset: usize) -> T {
    unsafe { bytes.as_ptr().add(offset).cast::<T>().read_unaligned() }
}

#[xdp]
pub fn small_integers(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    info!(&ctx, "u8 {} i8 {} u16 {} i16 {}", at::<u8>(&from, 0), at::<i8>(&from, 1), at::<u16>(&from, 2), at::<i16>(&from, 4));
    info!(&ctx, "{:x}/{:x}/{:x}/{:x}", at::<u8>(&from, 0), at::<i8>(&from, 1), at::<u16>(&from, 2), at::<i16>(&from, 4));
    info!(&ctx, "{:X}/{:X}/{:X}/{:X}", at::<u8>(&from, 0), at::<i8>(&from, 1), at::<u16>(&from, 2), at::<i16>(&from, 4));
    XDP_PASS
}

#[xdp]
pub fn large_integers(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    warn!(&ctx, "u32 {} i32 {} u64 {} i64 {}", at::<u32>(&from, 0), at::<i32>(&from, 4), at::<u64>(&from, 8), at::<i64>(&from, 16));
    warn!(&ctx, "usize {} isize {}", at::<usize>(&from, 8), at::<isize>(&from, 16));
    warn!(&ctx, "{:x} {:x} {:x} {:x}", at::<u32>(&from, 0), at::<i32>(&from, 4), at::<u64>(&from, 8), at::<i64>(&from, 16));
    warn!(&ctx, "{:X} {:X} {:X} {:X}", at::<u32>(&from, 0), at::<i32>(&from, 4), at::<usize>(&from, 8), at::<isize>(&from, 16));
    XDP_PASS
}

#[xdp]
pub fn floats(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    debug!(&ctx, "f32 {}", f32::from_bits(at::<u32>(&from, 0)));
    debug!(&ctx, "f64 {}", f64::from_bits(at::<u64>(&from, 8)));
    XDP_PASS
}

#[xdp]
pub fn addresses(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    let four = at::<[u8; 4]>(&from, 0);
    info!(&ctx, "{:i} {:i}", at::<u32>(&from, 0), four);
    info!(&ctx, "{} {:i}", Ipv4Addr::from(four), Ipv4Addr::from(four));
    info!(&ctx, "{:i}", at::<[u8; 16]>(&from, 8));
    let mac = at::<[u8; 6]>(&from, 24);
    trace!(&ctx, "{:mac} {:MAC}", mac, mac);
    XDP_PASS
}

#[xdp]
pub fn six(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    let six = Ipv6Addr::from(at::<[u8; 16]>(&from, 8));
    info!(&ctx, "{} {:i}", six, six);
    info!(&ctx, "{} {:i}", IpAddr::V6(six), IpAddr::V4(Ipv4Addr::from(at::<[u8; 4]>(&from, 0))));
    #[cfg(feature = "words")]
    info!(&ctx, "{:i}", at::<[u16; 8]>(&from, 8));
    XDP_PASS
}

#[xdp]
pub fn bytes(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    let some = at::<[u8; 24]>(&from, 8);
    error!(&ctx, "bytes {:x} {:X}.", some.as_slice(), some.as_slice());
    let flag: &[u8] = if some[0] & 1 == 1 { b"" } else { b"\x00\xff" };
    error!(&ctx, "bytes {:x}.", flag);
    XDP_PASS
}

#[xdp]
pub fn texts(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    error!(&ctx, "one\ntwo\n\nfour\n");
    warn!(&ctx, "{{}} {{x}} 100 % \\ \"quoted\" \u{e4}\u{1f41d}");
    info!(&ctx, "text {} and {}", "a {} b", "");
    debug!(&ctx, target: "other::target", "of another target: {}", at::<u8>(&from, 0));
    trace!(&ctx, "{}", "alone");
    info!(&ctx, "");
    XDP_PASS
}

#[cfg(feature = "pointers")]
#[xdp]
pub fn pointers(ctx: XdpContext) -> u32 {
    let from = bytes_of(&ctx);
    info!(&ctx, "{:p} {:p}", at::<usize>(&from, 8) as *const u8, at::<usize>(&from, 16) as *mut u64);
    XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
