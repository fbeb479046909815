// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: rewriting a header under tc. TCP for one address and port goes to another; both checksums follow. */
#include <linux/pkt_cls.h>
#include "lesson.h"
#include "packet.h"

#define IP_AT ETH_HLEN
#define TCP_AT (ETH_HLEN + sizeof(struct iphdr))

struct endpoint {
	__be32 address;
	__be16 port;
	u16 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct endpoint);
	__type(value, struct endpoint);
} rewrites SEC(".maps");

static __always_inline int rewrite(struct __sk_buff *skb, struct endpoint *from, struct endpoint *to)
{
	if (bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), from->address, to->address,
				BPF_F_PSEUDO_HDR | sizeof(to->address)) ||
	    bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), from->port, to->port, sizeof(to->port)) ||
	    bpf_l3_csum_replace(skb, IP_AT + offsetof(struct iphdr, check), from->address, to->address,
				sizeof(to->address)) ||
	    bpf_skb_store_bytes(skb, IP_AT + offsetof(struct iphdr, daddr), &to->address, sizeof(to->address), 0) ||
	    bpf_skb_store_bytes(skb, TCP_AT + offsetof(struct tcphdr, dest), &to->port, sizeof(to->port), 0))
		return TC_ACT_SHOT;
	skb->mark = 1;
	return TC_ACT_OK;
}

SEC("tc")
int redirect_service(struct __sk_buff *skb)
{
	struct cursor packet = CURSOR(skb);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_OK;
	struct iphdr *ip = NEXT_HEADER(&packet, struct iphdr);
	if (!ip || ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return TC_ACT_OK;
	struct tcphdr *tcp = NEXT_HEADER(&packet, struct tcphdr);
	if (!tcp)
		return TC_ACT_OK;
	struct endpoint from = {.address = ip->daddr, .port = tcp->dest};
	struct endpoint *to = bpf_map_lookup_elem(&rewrites, &from);
	return to ? rewrite(skb, &from, to) : TC_ACT_OK;
}

LICENSE("Dual MIT/GPL");
