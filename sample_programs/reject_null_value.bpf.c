// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: uses what a map lookup returned without asking whether it is NULL. */
#include "lesson.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} seen SEC(".maps");

SEC("xdp")
int unchecked_value(struct xdp_md *ctx)
{
	u32 key = ctx->ingress_ifindex;
	u64 *count = bpf_map_lookup_elem(&seen, &key);
	*count += 1;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
