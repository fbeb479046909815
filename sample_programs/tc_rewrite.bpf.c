// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: rewriting a header under tc. TCP for one address and port goes to another; both checksums follow. */
#include <linux/pkt_cls.h>
#include "lesson.h"
#include "packet.h"

#define IP_AT ETH_HLEN
#define TCP_AT (ETH_HLEN + sizeof(struct iphdr))

struct endpoint {
	u8 address[4];
	u16 port; /* host order */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct endpoint);
	__type(value, struct endpoint);
} rewrites SEC(".maps");

static __always_inline int rewrite(struct __sk_buff *skb, __be32 old_address, __be16 old_port, struct endpoint *to)
{
	__be32 address;
	__be16 port = bpf_htons(to->port);
	__builtin_memcpy(&address, to->address, sizeof(address));

	/* The address is part of TCP's pseudo header, so it counts in both checksums. */
	if (bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), old_address, address,
				BPF_F_PSEUDO_HDR | sizeof(address)) ||
	    bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), old_port, port, sizeof(port)) ||
	    bpf_l3_csum_replace(skb, IP_AT + offsetof(struct iphdr, check), old_address, address, sizeof(address)) ||
	    bpf_skb_store_bytes(skb, IP_AT + offsetof(struct iphdr, daddr), &address, sizeof(address), 0) ||
	    bpf_skb_store_bytes(skb, TCP_AT + offsetof(struct tcphdr, dest), &port, sizeof(port), 0))
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
	struct endpoint from = {.port = bpf_ntohs(tcp->dest)};
	__builtin_memcpy(from.address, &ip->daddr, sizeof(from.address));
	struct endpoint *to = bpf_map_lookup_elem(&rewrites, &from);
	return to ? rewrite(skb, ip->daddr, tcp->dest, to) : TC_ACT_OK;
}

LICENSE("Dual MIT/GPL");
