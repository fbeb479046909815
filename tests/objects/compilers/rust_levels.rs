// SPDX-License-Identifier: MIT OR GPL-2.0-only
// Issue 12, line 3: what rustc writes with `debug = 1` or line tables only: BTF of FUNC records whose prototypes do not
// exist. No `core`, so that the compiler alone makes the object:
//   RUSTC_BOOTSTRAP=1 rustc --target bpfel-unknown-none --crate-type lib --emit obj -C opt-level=2 -C panic=abort \
//       -C debuginfo=1 rust_levels.rs -o rust_debug_1.bpf.o
#![feature(no_core, lang_items)]
#![no_core]
#![no_std]
#![allow(internal_features)]

#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[lang = "copy"]
pub trait Copy {}
#[lang = "sync"]
pub trait Sync {}
#[lang = "drop_in_place"]
unsafe fn drop_in_place<T: PointeeSized>(_at: *mut T) {}
impl Copy for u32 {}
impl Sync for u32 {}
impl Sync for [u8; 4] {}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static _license: [u8; 4] = [71, 80, 76, 0];

#[unsafe(no_mangle)]
pub static LIMIT: u32 = 2;

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn gives_2(_ctx: *mut u32) -> u32 {
    2
}
