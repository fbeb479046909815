// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: connection tracking. TCP from the inside (10.0.0.0/8) opens connections; from the outside only what belongs to
 * one comes in. What a packet does depends on the packets before it: the test is a state machine. */
#include "lesson.h"
#include "packet.h"

enum state { OPENING = 1, OPEN, INSIDE_DONE, OUTSIDE_DONE };

struct flow {
	u8 inside[4];
	u8 outside[4];
	u16 inside_port; /* in network byte order, as the packet has them */
	u16 outside_port;
};

struct connection {
	u32 state;
	u32 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow);
	__type(value, struct connection);
} connections SEC(".maps");

static __always_inline int from_inside(struct flow *flow, const struct tcphdr *tcp)
{
	struct connection *known = bpf_map_lookup_elem(&connections, flow);
	struct connection fresh = {.state = OPENING, .packets = 1};

	if (!known) {
		if (!tcp->syn || tcp->ack || tcp->rst || tcp->fin)
			return XDP_DROP;
		return bpf_map_update_elem(&connections, flow, &fresh, BPF_ANY) ? XDP_DROP : XDP_PASS;
	}
	known->packets++;
	if (tcp->rst || (tcp->fin && known->state == OUTSIDE_DONE))
		bpf_map_delete_elem(&connections, flow);
	else if (tcp->fin && known->state == OPEN)
		known->state = INSIDE_DONE;
	return XDP_PASS;
}

static __always_inline int from_outside(struct flow *flow, const struct tcphdr *tcp)
{
	struct connection *known = bpf_map_lookup_elem(&connections, flow);

	if (!known)
		return XDP_DROP;
	if (known->state == OPENING && !tcp->rst) {
		if (!tcp->syn || !tcp->ack)
			return XDP_DROP;
		known->state = OPEN;
	}
	known->packets++;
	if (tcp->rst || (tcp->fin && known->state == INSIDE_DONE))
		bpf_map_delete_elem(&connections, flow);
	else if (tcp->fin && known->state == OPEN)
		known->state = OUTSIDE_DONE;
	return XDP_PASS;
}

SEC("xdp")
int track(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	struct iphdr *ip = NEXT_HEADER(&packet, struct iphdr);
	if (!ip || ip->ihl < 5)
		return XDP_DROP;
	if (ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	if (ip->frag_off & bpf_htons(0x3fff)) /* the ports are in the first fragment alone */
		return XDP_DROP;
	packet.at = (void *)ip + 4 * ip->ihl;
	struct tcphdr *tcp = NEXT_HEADER(&packet, struct tcphdr);
	if (!tcp)
		return XDP_DROP;

	bool outward = (ip->saddr & bpf_htonl(0xff000000)) == bpf_htonl(0x0a000000);
	struct flow flow = {
		.inside_port = outward ? tcp->source : tcp->dest,
		.outside_port = outward ? tcp->dest : tcp->source,
	};
	__builtin_memcpy(flow.inside, outward ? &ip->saddr : &ip->daddr, sizeof(flow.inside));
	__builtin_memcpy(flow.outside, outward ? &ip->daddr : &ip->saddr, sizeof(flow.outside));
	return outward ? from_inside(&flow, tcp) : from_outside(&flow, tcp);
}

LICENSE("Dual MIT/GPL");
