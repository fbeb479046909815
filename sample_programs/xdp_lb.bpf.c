// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a program in several functions, and a map in a map. UDP to a service goes to one of its backends; flows of
 * one client port stay with one backend. */
#include "lesson.h"
#include "packet.h"

#define SLOTS 4

struct backend {
	u8 address[4];
	u8 mac[6];
	u16 weight;
};

struct backends {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, struct backend);
} web SEC(".maps"), dns SEC(".maps");

/* Destination port (host order) -> the backends of that service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 16);
	__type(key, u32);
	__array(values, struct backends);
} services SEC(".maps");

/* Who gets the packet when the chosen slot is empty. */
struct backend fallback = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, u64);
} forwarded SEC(".maps");

/* A static subprogram: verified as part of each caller. */
static __noinline u32 mix(u32 value)
{
	value ^= value >> 16;
	value *= 0x45d9f3bu;
	return value ^ value >> 16;
}

/* A global subprogram: verified once, on its own, for every argument it could get. */
__noinline u32 choose_slot(u32 client, u32 ports)
{
	return mix(client ^ mix(ports)) % SLOTS;
}

static __always_inline void replace_destination(struct iphdr *ip, const u8 *address)
{
	__be32 new_address;
	__builtin_memcpy(&new_address, address, sizeof(new_address));
	s64 sum = bpf_csum_diff(&ip->daddr, sizeof(ip->daddr), &new_address, sizeof(new_address), (u16)~ip->check);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = (u16)~sum;
	ip->daddr = new_address;
}

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	struct iphdr *ip = NEXT_HEADER(&packet, struct iphdr);
	if (!ip || ip->protocol != IPPROTO_UDP || ip->ihl != 5)
		return XDP_PASS;
	struct udphdr *udp = NEXT_HEADER(&packet, struct udphdr);
	if (!udp)
		return XDP_PASS;

	u32 port = bpf_ntohs(udp->dest);
	void *backends = bpf_map_lookup_elem(&services, &port);
	if (!backends)
		return XDP_PASS;
	u32 slot = choose_slot(ip->saddr, (u32)udp->source << 16 | udp->dest);
	struct backend *backend = bpf_map_lookup_elem(backends, &slot);
	if (!backend || !backend->weight)
		backend = &fallback;
	if (!backend->weight)
		return XDP_DROP;

	replace_destination(ip, backend->address);
	udp->check = 0; /* allowed over IPv4: no checksum */
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, backend->mac, ETH_ALEN);
	COUNT(forwarded, slot);
	return XDP_TX;
}

LICENSE("Dual MIT/GPL");
