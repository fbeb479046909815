// Types made from BTF by pytest-ebpf. Sizes and offsets are those of the source; the compiler checks them.
#![allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, clippy::all)]

#[inline(always)]
fn _get_bits(bytes: &[u8], start: usize, width: usize) -> u64 {
    let mut value = 0u64;
    let mut bit = 0;
    while bit < width {
        let at = start + bit;
        if bytes[at / 8] >> (at % 8) & 1 == 1 {
            value |= 1 << bit;
        }
        bit += 1;
    }
    value
}

#[inline(always)]
fn _set_bits(bytes: &mut [u8], start: usize, width: usize, value: u64) {
    let mut bit = 0;
    while bit < width {
        let at = start + bit;
        let mask = 1u8 << (at % 8);
        if value >> bit & 1 == 1 {
            bytes[at / 8] |= mask;
        } else {
            bytes[at / 8] &= !mask;
        }
        bit += 1;
    }
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct sock_common {
    pub __bindgen_anon_1: sock_common__bindgen_ty_1,
    pub __bindgen_anon_2: sock_common__bindgen_ty_2,
    pub __bindgen_anon_3: sock_common__bindgen_ty_3,
    pub skc_family: u16,
    pub skc_state: u8,
    pub _bitfield_19: [u8; 1],
    pub skc_bound_dev_if: i32,
    pub __bindgen_anon_4: sock_common__bindgen_ty_8,
    pub skc_prot: *mut proto,
    pub skc_net: possible_net_t,
    pub skc_v6_daddr: in6_addr,
    pub skc_v6_rcv_saddr: in6_addr,
    pub skc_cookie: atomic64_t,
    pub __bindgen_anon_5: sock_common__bindgen_ty_14,
    pub skc_dontcopy_begin: [i32; 0],
    pub __bindgen_anon_6: sock_common__bindgen_ty_16,
    pub skc_tx_queue_mapping: u16,
    pub skc_rx_queue_mapping: u16,
    pub __bindgen_anon_7: sock_common__bindgen_ty_19,
    pub skc_refcnt: refcount_struct,
    pub skc_dontcopy_end: [i32; 0],
    pub __bindgen_anon_8: sock_common__bindgen_ty_22,
}
impl sock_common {
    #[inline(always)]
    pub fn skc_reuse(&self) -> u8 {
        _get_bits(&self._bitfield_19, 0, 4) as u8
    }
    #[inline(always)]
    pub fn set_skc_reuse(&mut self, value: u8) {
        _set_bits(&mut self._bitfield_19, 0, 4, value as u64)
    }
    #[inline(always)]
    pub fn skc_reuseport(&self) -> u8 {
        _get_bits(&self._bitfield_19, 4, 1) as u8
    }
    #[inline(always)]
    pub fn set_skc_reuseport(&mut self, value: u8) {
        _set_bits(&mut self._bitfield_19, 4, 1, value as u64)
    }
    #[inline(always)]
    pub fn skc_ipv6only(&self) -> u8 {
        _get_bits(&self._bitfield_19, 5, 1) as u8
    }
    #[inline(always)]
    pub fn set_skc_ipv6only(&mut self, value: u8) {
        _set_bits(&mut self._bitfield_19, 5, 1, value as u64)
    }
    #[inline(always)]
    pub fn skc_net_refcnt(&self) -> u8 {
        _get_bits(&self._bitfield_19, 6, 1) as u8
    }
    #[inline(always)]
    pub fn set_skc_net_refcnt(&mut self, value: u8) {
        _set_bits(&mut self._bitfield_19, 6, 1, value as u64)
    }
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common>() == 136);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_1) == 0);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_2) == 8);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_3) == 12);
    assert!(::core::mem::offset_of!(sock_common, skc_family) == 16);
    assert!(::core::mem::offset_of!(sock_common, skc_state) == 18);
    assert!(::core::mem::offset_of!(sock_common, _bitfield_19) == 19);
    assert!(::core::mem::offset_of!(sock_common, skc_bound_dev_if) == 20);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_4) == 24);
    assert!(::core::mem::offset_of!(sock_common, skc_prot) == 40);
    assert!(::core::mem::offset_of!(sock_common, skc_net) == 48);
    assert!(::core::mem::offset_of!(sock_common, skc_v6_daddr) == 56);
    assert!(::core::mem::offset_of!(sock_common, skc_v6_rcv_saddr) == 72);
    assert!(::core::mem::offset_of!(sock_common, skc_cookie) == 88);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_5) == 96);
    assert!(::core::mem::offset_of!(sock_common, skc_dontcopy_begin) == 104);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_6) == 104);
    assert!(::core::mem::offset_of!(sock_common, skc_tx_queue_mapping) == 120);
    assert!(::core::mem::offset_of!(sock_common, skc_rx_queue_mapping) == 122);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_7) == 124);
    assert!(::core::mem::offset_of!(sock_common, skc_refcnt) == 128);
    assert!(::core::mem::offset_of!(sock_common, skc_dontcopy_end) == 132);
    assert!(::core::mem::offset_of!(sock_common, __bindgen_anon_8) == 132);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_1 {
    pub skc_addrpair: __addrpair,
    pub __bindgen_anon_1: sock_common__bindgen_ty_1__bindgen_ty_2,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_1>() == 8);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_1, skc_addrpair) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_1, __bindgen_anon_1) == 0);
};

pub type __addrpair = u64;

#[repr(C)]
#[derive(Copy, Clone)]
pub struct sock_common__bindgen_ty_1__bindgen_ty_2 {
    pub skc_daddr: __be32,
    pub skc_rcv_saddr: __be32,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_1__bindgen_ty_2>() == 8);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_1__bindgen_ty_2, skc_daddr) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_1__bindgen_ty_2, skc_rcv_saddr) == 4);
};

pub type __be32 = u32;

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_2 {
    pub skc_hash: u32,
    pub skc_u16hashes: [__u16; 2],
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_2>() == 4);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_2, skc_hash) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_2, skc_u16hashes) == 0);
};

pub type __u16 = u16;

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_3 {
    pub skc_portpair: __portpair,
    pub __bindgen_anon_1: sock_common__bindgen_ty_3__bindgen_ty_2,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_3>() == 4);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_3, skc_portpair) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_3, __bindgen_anon_1) == 0);
};

pub type __portpair = u32;

#[repr(C)]
#[derive(Copy, Clone)]
pub struct sock_common__bindgen_ty_3__bindgen_ty_2 {
    pub skc_dport: __be16,
    pub skc_num: __u16,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_3__bindgen_ty_2>() == 4);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_3__bindgen_ty_2, skc_dport) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_3__bindgen_ty_2, skc_num) == 2);
};

pub type __be16 = u16;

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_8 {
    pub skc_bind_node: hlist_node,
    pub skc_portaddr_node: hlist_node,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_8>() == 16);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_8, skc_bind_node) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_8, skc_portaddr_node) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct hlist_node {
    pub next: *mut hlist_node,
    pub pprev: *mut *mut hlist_node,
}
const _: () = {
    assert!(::core::mem::size_of::<hlist_node>() == 16);
    assert!(::core::mem::offset_of!(hlist_node, next) == 0);
    assert!(::core::mem::offset_of!(hlist_node, pprev) == 8);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct proto {
    _unknown: [u8; 0],
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct possible_net_t {
    pub net: *mut net,
}
const _: () = {
    assert!(::core::mem::size_of::<possible_net_t>() == 8);
    assert!(::core::mem::offset_of!(possible_net_t, net) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct net {
    _unknown: [u8; 0],
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct in6_addr {
    pub in6_u: in6_addr__bindgen_ty_1,
}
const _: () = {
    assert!(::core::mem::size_of::<in6_addr>() == 16);
    assert!(::core::mem::offset_of!(in6_addr, in6_u) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub union in6_addr__bindgen_ty_1 {
    pub u6_addr8: [__u8; 16],
    pub u6_addr16: [__be16; 8],
    pub u6_addr32: [__be32; 4],
}
const _: () = {
    assert!(::core::mem::size_of::<in6_addr__bindgen_ty_1>() == 16);
    assert!(::core::mem::offset_of!(in6_addr__bindgen_ty_1, u6_addr8) == 0);
    assert!(::core::mem::offset_of!(in6_addr__bindgen_ty_1, u6_addr16) == 0);
    assert!(::core::mem::offset_of!(in6_addr__bindgen_ty_1, u6_addr32) == 0);
};

pub type __u8 = u8;

#[repr(C)]
#[derive(Copy, Clone)]
pub struct atomic64_t {
    pub counter: s64,
}
const _: () = {
    assert!(::core::mem::size_of::<atomic64_t>() == 8);
    assert!(::core::mem::offset_of!(atomic64_t, counter) == 0);
};

pub type s64 = i64;

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_14 {
    pub skc_flags: u64,
    pub skc_listener: *mut sock,
    pub skc_tw_dr: *mut inet_timewait_death_row,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_14>() == 8);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_14, skc_flags) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_14, skc_listener) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_14, skc_tw_dr) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct sock {
    _unknown: [u8; 0],
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct inet_timewait_death_row {
    _unknown: [u8; 0],
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_16 {
    pub skc_node: hlist_node,
    pub skc_nulls_node: hlist_nulls_node,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_16>() == 16);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_16, skc_node) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_16, skc_nulls_node) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct hlist_nulls_node {
    pub next: *mut hlist_nulls_node,
    pub pprev: *mut *mut hlist_nulls_node,
}
const _: () = {
    assert!(::core::mem::size_of::<hlist_nulls_node>() == 16);
    assert!(::core::mem::offset_of!(hlist_nulls_node, next) == 0);
    assert!(::core::mem::offset_of!(hlist_nulls_node, pprev) == 8);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_19 {
    pub skc_incoming_cpu: i32,
    pub skc_rcv_wnd: u32,
    pub skc_tw_rcv_nxt: u32,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_19>() == 4);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_19, skc_incoming_cpu) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_19, skc_rcv_wnd) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_19, skc_tw_rcv_nxt) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct refcount_struct {
    pub refs: atomic_t,
}
const _: () = {
    assert!(::core::mem::size_of::<refcount_struct>() == 4);
    assert!(::core::mem::offset_of!(refcount_struct, refs) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub struct atomic_t {
    pub counter: i32,
}
const _: () = {
    assert!(::core::mem::size_of::<atomic_t>() == 4);
    assert!(::core::mem::offset_of!(atomic_t, counter) == 0);
};

#[repr(C)]
#[derive(Copy, Clone)]
pub union sock_common__bindgen_ty_22 {
    pub skc_rxhash: u32,
    pub skc_window_clamp: u32,
    pub skc_tw_snd_nxt: u32,
}
const _: () = {
    assert!(::core::mem::size_of::<sock_common__bindgen_ty_22>() == 4);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_22, skc_rxhash) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_22, skc_window_clamp) == 0);
    assert!(::core::mem::offset_of!(sock_common__bindgen_ty_22, skc_tw_snd_nxt) == 0);
};
