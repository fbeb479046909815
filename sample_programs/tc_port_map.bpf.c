// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: live TCP through a pair of tc programs. On the way in a connection to one port goes to another; on the way
 * out its answers come from the port that was asked for. */
#include <linux/pkt_cls.h>
#include "lesson.h"
#include "packet.h"

const volatile u16 asked_port = 80;
const volatile u16 served_port = 8080;
u64 mapped_in = 0;
u64 mapped_out = 0;

#define TCP_AT (ETH_HLEN + sizeof(struct iphdr))

static __always_inline struct tcphdr *tcp_of(struct __sk_buff *skb)
{
	struct cursor packet = CURSOR(skb);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return NULL;
	struct iphdr *ip = NEXT_HEADER(&packet, struct iphdr);
	if (!ip || ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return NULL;
	return NEXT_HEADER(&packet, struct tcphdr);
}

static __always_inline int set_port(struct __sk_buff *skb, u32 port_at, __be16 from, __be16 to)
{
	if (bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), from, to, sizeof(to)) ||
	    bpf_skb_store_bytes(skb, TCP_AT + port_at, &to, sizeof(to), 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

SEC("tc/ingress")
int map_in(struct __sk_buff *skb)
{
	struct tcphdr *tcp = tcp_of(skb);
	if (!tcp || tcp->dest != bpf_htons(asked_port))
		return TC_ACT_OK;
	__sync_fetch_and_add(&mapped_in, 1);
	return set_port(skb, offsetof(struct tcphdr, dest), tcp->dest, bpf_htons(served_port));
}

SEC("tc/egress")
int map_out(struct __sk_buff *skb)
{
	struct tcphdr *tcp = tcp_of(skb);
	if (!tcp || tcp->source != bpf_htons(served_port))
		return TC_ACT_OK;
	__sync_fetch_and_add(&mapped_out, 1);
	return set_port(skb, offsetof(struct tcphdr, source), tcp->source, bpf_htons(asked_port));
}

LICENSE("Dual MIT/GPL");
