// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected (where ring buffers exist, Linux 5.8): one way out neither submits nor discards the reserved record. */
#include "lesson.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp")
int leak(struct xdp_md *ctx)
{
	u32 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record)
		return XDP_PASS;
	*record = ctx->ingress_ifindex;
	if (*record == 1)
		return XDP_DROP;
	bpf_ringbuf_submit(record, 0);
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
