/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 19: an arena (Linux 6.9), which an old kernel refuses with EINVAL alone: a missing feature, for every
 * program of the object. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, 33);
	__uint(map_flags, 1 << 10);
	__uint(max_entries, 4);
} arena SEC(".maps");

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
