// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a packet that changes its length. Take the outer IPv4 header off an IP-in-IP packet. */
#include "lesson.h"
#include "packet.h"

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	struct iphdr *outer = NEXT_HEADER(&packet, struct iphdr);
	if (!outer || outer->protocol != IPPROTO_IPIP || outer->ihl != 5)
		return XDP_PASS;

	struct ethhdr link = *eth;
	if (bpf_xdp_adjust_head(ctx, sizeof(*outer)))
		return XDP_ABORTED;

	/* Every packet pointer is void after the call above: start over. */
	packet = (struct cursor)CURSOR(ctx);
	eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth)
		return XDP_ABORTED;
	*eth = link;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
