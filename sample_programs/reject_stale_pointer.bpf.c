// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a packet pointer from before the packet changed its length. */
#include "lesson.h"
#include "packet.h"

SEC("xdp")
int use_stale_pointer(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
		return XDP_DROP;
	return eth->h_proto ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
