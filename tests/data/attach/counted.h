/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What every source here has: counts[0..7], of any CPU. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef __u32 u32;
typedef __u64 u64;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

static __always_inline void count(u32 slot)
{
	u64 *value = bpf_map_lookup_elem(&counts, &slot);
	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline void keep(u32 slot, u64 number)
{
	u64 *value = bpf_map_lookup_elem(&counts, &slot);
	if (value)
		*value = number;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
