/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ten programs with one bug each, and the same programs mended: what tests/vm/test_seeded_bugs.py finds by properties.
 * TWICE makes both of a function: NAME_bug with `buggy` true, NAME with false; the compiler drops what is not taken. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#define TWICE(name)                                                                                                    \
	SEC("xdp") int name##_bug(struct xdp_md *ctx) { return name##_body(ctx, 1); }                                  \
	SEC("xdp") int name(struct xdp_md *ctx) { return name##_body(ctx, 0); }
#define BODY(name) static __always_inline int name##_body(struct xdp_md *ctx, const int buggy)

#define DNS 53
#define CPUS 64
#define LIMIT 10

struct vlan {
	__be16 tci;
	__be16 proto;
};

struct prefix {
	__u32 length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, struct prefix);
	__type(value, __u32);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u32);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CPUS);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

/* The IPv4 header behind up to two tags; NULL for anything else. `*tags`: how many bytes of them there are. */
static __always_inline struct iphdr *ipv4(struct xdp_md *ctx, int skip_tags, int *tags)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return NULL;
	__be16 proto = eth->h_proto;
	void *at = eth + 1;
	*tags = 0;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (!skip_tags || (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD)))
			break;
		struct vlan *tag = at;
		if ((void *)(tag + 1) > end)
			return NULL;
		proto = tag->proto;
		at = tag + 1;
		*tags += sizeof(*tag);
	}
	struct iphdr *ip = at;
	if (proto != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return NULL;
	return ip;
}

/* The UDP header of a first fragment; NULL for anything else. */
static __always_inline struct udphdr *udp_of(struct xdp_md *ctx, struct iphdr *ip, int options, int fragments)
{
	void *end = (void *)(long)ctx->data_end;
	if (ip->protocol != IPPROTO_UDP || (!fragments && ip->frag_off & bpf_htons(0x1fff)))
		return NULL;
	struct udphdr *udp = (void *)ip + (options ? ip->ihl * 4 : sizeof(*ip));
	return (void *)(udp + 1) > end ? NULL : udp;
}

static __always_inline void lower_ttl(struct iphdr *ip, int checksum)
{
	__u32 sum = ip->check + bpf_htons(0x0100);
	if (checksum)
		ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
}

/* 1. A bounds check is off by one: a packet that ends with the header is not looked at. */
BODY(bounds)
{
	void *end = (void *)(long)ctx->data_end;
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	struct udphdr *udp = ip ? udp_of(ctx, ip, 1, 0) : NULL;
	if (!udp || (buggy && (void *)(udp + 1) + 1 > end))
		return XDP_PASS;
	return udp->dest == bpf_htons(DNS) ? XDP_DROP : XDP_PASS;
}
TWICE(bounds)

/* 2. The checksum is not updated on one path: that of packets with a tag. */
BODY(checksum)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	if (!ip || ip->ttl <= 1)
		return XDP_PASS;
	lower_ttl(ip, !buggy || !tags);
	return XDP_TX;
}
TWICE(checksum)

/* 3. A VLAN tag is not skipped. */
BODY(vlan)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, !buggy, &tags);
	struct udphdr *udp = ip ? udp_of(ctx, ip, 1, 0) : NULL;
	return udp && udp->dest == bpf_htons(DNS) ? XDP_DROP : XDP_PASS;
}
TWICE(vlan)

/* 4. The options of IPv4 are ignored. */
BODY(options)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	struct udphdr *udp = ip ? udp_of(ctx, ip, !buggy, 0) : NULL;
	return udp && udp->dest == bpf_htons(DNS) ? XDP_DROP : XDP_PASS;
}
TWICE(options)

/* 5. A port is compared in the wrong byte order. */
BODY(order)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	struct udphdr *udp = ip ? udp_of(ctx, ip, 1, 0) : NULL;
	return udp && udp->dest == (buggy ? DNS : bpf_htons(DNS)) ? XDP_DROP : XDP_PASS;
}
TWICE(order)

/* 6. A later fragment is treated as a first one: its bytes are taken for ports. */
BODY(fragment)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	struct udphdr *udp = ip ? udp_of(ctx, ip, 1, buggy) : NULL;
	return udp && udp->dest != bpf_htons(DNS) ? XDP_DROP : XDP_PASS;
}
TWICE(fragment)

/* 7. The prefix of a lookup is off by one: an entry for one address is never found. */
BODY(lpm)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	if (!ip)
		return XDP_PASS;
	struct prefix key = {.length = buggy ? 31 : 32, .address = ip->saddr};
	return bpf_map_lookup_elem(&blocked, &key) ? XDP_DROP : XDP_PASS;
}
TWICE(lpm)

/* 8. A map entry is leaked on an error path. */
BODY(leak)
{
	__u32 one = 1;
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	if (!ip)
		return XDP_PASS;
	__be32 key = ip->saddr;
	bpf_map_update_elem(&flows, &key, &one, BPF_ANY);
	if (ip->ttl <= 1 && buggy)
		return XDP_DROP;
	int verdict = ip->ttl <= 1 ? XDP_DROP : XDP_PASS;
	bpf_map_delete_elem(&flows, &key);
	return verdict;
}
TWICE(leak)

/* 9. A counter is summed over the wrong CPUs: a limit of ten packets leaves this one's out. */
BODY(cpus)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u64 total = 0;
	for (__u32 i = 0; i < CPUS; i++) {
		__u32 key = i;
		__u64 *count = bpf_map_lookup_elem(&seen, &key);
		if (count && (!buggy || i != cpu))
			total += *count;
	}
	__u64 *mine = bpf_map_lookup_elem(&seen, &cpu);
	if (mine)
		__sync_fetch_and_add(mine, 1);
	return total < LIMIT ? XDP_PASS : XDP_DROP;
}
TWICE(cpus)

/* 10. The TTL underflows. */
BODY(ttl)
{
	int tags;
	struct iphdr *ip = ipv4(ctx, 1, &tags);
	if (!ip)
		return XDP_PASS;
	if (buggy ? ip->ttl == 1 : ip->ttl <= 1)
		return XDP_DROP;
	lower_ttl(ip, 1);
	return XDP_TX;
}
TWICE(ttl)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
