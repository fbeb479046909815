// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: reads the packet without having compared it with data_end. */
#include "lesson.h"
#include "packet.h"

SEC("xdp")
int unchecked_packet(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
