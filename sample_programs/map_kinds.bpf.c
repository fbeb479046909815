// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: maps with a character. A per-CPU hash, an LRU hash, a queue and a stack, all fed by one packet. */
#include "lesson.h"
#include "packet.h"

struct traffic {
	u64 packets;
	u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, u16);
	__type(value, struct traffic);
} by_protocol SEC(".maps"); /* EtherType -> traffic */

struct mac {
	u8 octets[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 128);
	__type(key, struct mac);
	__type(value, u32);
} last_seen SEC(".maps"); /* sender -> size of its last packet; the oldest make room */

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, u32);
} first_sizes SEC(".maps"); /* the first four packet sizes */

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, u32);
} latest_sizes SEC(".maps"); /* the latest four packet sizes: BPF_EXIST pushes the oldest out */

SEC("tc")
int account(struct __sk_buff *skb)
{
	struct cursor packet = CURSOR(skb);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth)
		return 0;
	u16 protocol = bpf_ntohs(eth->h_proto);
	u32 size = skb->len;
	struct mac sender;
	__builtin_memcpy(&sender, eth->h_source, sizeof(sender));

	struct traffic *known = bpf_map_lookup_elem(&by_protocol, &protocol);
	if (known) {
		known->packets++;
		known->bytes += size;
	} else {
		struct traffic first = {.packets = 1, .bytes = size};
		bpf_map_update_elem(&by_protocol, &protocol, &first, BPF_NOEXIST);
	}
	bpf_map_update_elem(&last_seen, &sender, &size, BPF_ANY);
	bpf_map_push_elem(&first_sizes, &size, 0);
	bpf_map_push_elem(&latest_sizes, &size, BPF_EXIST);
	return 0;
}

LICENSE("Dual MIT/GPL");
