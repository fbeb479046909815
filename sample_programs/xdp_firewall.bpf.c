// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: longest-prefix match and per-CPU counters. Drop IPv4 packets whose source lies in a blocked network. */
#include "lesson.h"
#include "packet.h"

struct network {
	u32 prefix_len;
	u8 address[4];
};

enum verdict { PASSED, BLOCKED, TOO_SHORT, VERDICTS };

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct network);
	__type(value, u8);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, u32);
	__type(value, u64);
} stats SEC(".maps");

static __always_inline enum verdict judge(struct cursor *packet)
{
	struct ethhdr *eth = NEXT_HEADER(packet, struct ethhdr);
	if (!eth)
		return TOO_SHORT;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return PASSED;
	struct iphdr *ip = NEXT_HEADER(packet, struct iphdr);
	if (!ip)
		return TOO_SHORT;
	struct network source = {.prefix_len = 32};
	__builtin_memcpy(source.address, &ip->saddr, sizeof(source.address));
	u8 *rule = bpf_map_lookup_elem(&blocked, &source);
	return rule && *rule ? BLOCKED : PASSED;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	enum verdict verdict = judge(&packet);
	COUNT(stats, verdict);
	return verdict == PASSED ? XDP_PASS : XDP_DROP;
}

LICENSE("Dual MIT/GPL");
