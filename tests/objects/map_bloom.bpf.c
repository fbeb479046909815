/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A bloom filter (Linux 5.16). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__type(value, __u32);
} seen SEC(".maps");

SEC("xdp")
int remember(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data;

	bpf_map_push_elem(&seen, &length, BPF_ANY);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
