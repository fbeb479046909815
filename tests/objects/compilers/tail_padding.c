/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 20: `items` begins in the padding of the struct, at byte 6 of 8. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct tailed {
	__u32 count;
	__u8 kind;
	__u16 items[];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct tailed);
} values SEC(".maps");

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
