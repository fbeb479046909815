/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What differential oracles are to find, and what they are to find equal: a program that decides by the kernel it runs on,
 * one that decides by the interface, and the twin in C of sample_programs/aya/programs/src/bin/xdp_counter.rs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} PACKETS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} BLOCKED SEC(".maps");

static __always_inline struct iphdr *ipv4(struct xdp_md *ctx, __u32 wanted)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)ip + wanted > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return 0;
	return ip;
}

/* Since Linux 5.17 there is bpf_loop(): where the kernel has it, the time to live counts. */
SEC("xdp")
int by_kernel(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx, sizeof(*ip));

	if (ip && ip->ttl == 1 && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		return XDP_DROP;
	return XDP_PASS;
}

/* A test run is on lo, whose index is 1. */
SEC("xdp")
int by_interface(struct xdp_md *ctx)
{
	struct iphdr *ip = ipv4(ctx, sizeof(*ip));

	return ip && ip->protocol == IPPROTO_UDP && ctx->ingress_ifindex == 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int counter_twin(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u32 key, source;
	__u64 *count;

	if ((void *)(eth + 1) > end)
		return XDP_ABORTED;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (data + 24 > end)
		return XDP_ABORTED;
	key = *(__u8 *)(data + 23);
	if (data + 30 > end)
		return XDP_ABORTED;
	source = bpf_ntohl(*(__u32 *)(data + 26));
	count = bpf_map_lookup_elem(&PACKETS, &key);
	if (count)
		*count += 1;
	return bpf_map_lookup_elem(&BLOCKED, &source) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
