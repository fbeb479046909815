/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 2: the value is a struct that is only declared; it has no size. libbpf refuses the object. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct nowhere;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct nowhere);
} counts SEC(".maps");

SEC("xdp") int uses_map(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_delete_elem(&counts, &key) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
