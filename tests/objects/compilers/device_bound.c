/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 14: an XDP program with a metadata kfunc. It loads only for a device (BPF_F_XDP_DEV_BOUND_ONLY, 1 << 6, and its
 * ifindex), which then may run it; veth has the kfuncs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;

__u64 seen;
int answer;

SEC("xdp") int asks_device(struct xdp_md *ctx)
{
	answer = bpf_xdp_metadata_rx_timestamp(ctx, &seen);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
