/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, lines 19 and 20: names that the kernel cuts to 15 characters; the object's BTF has them whole. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} connections_by_address SEC(".maps");

SEC("xdp") int count_connections_by_address(struct xdp_md *ctx)
{
	__u32 zero = 0, *count = bpf_map_lookup_elem(&connections_by_address, &zero);

	if (count)
		++*count;
	return XDP_PASS;
}

SEC("xdp") int count_connections_by_port(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
