/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 2: `max_entires` is no field of a map definition. libbpf refuses the object. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entires, 4);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

SEC("xdp") int uses_map(struct xdp_md *ctx)
{
	__u32 key = 0, *count = bpf_map_lookup_elem(&counts, &key);

	return count ? *count : XDP_PASS;
}

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
