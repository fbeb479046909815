/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 15: XDP programs for BPF_F_TEST_XDP_LIVE_FRAMES; `runs` counts them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 runs;

SEC("xdp") int passes(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return XDP_PASS;
}

SEC("xdp") int drops(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return XDP_DROP;
}

/* what the metadata in front of the packet says, put there by ctx= */
SEC("xdp") int drops_marked(struct xdp_md *ctx)
{
	__u32 *mark = (void *)(long)ctx->data_meta;

	if ((void *)(mark + 1) > (void *)(long)ctx->data)
		return XDP_ABORTED;
	__sync_fetch_and_add(&runs, *mark);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
