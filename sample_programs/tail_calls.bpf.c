// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: programs that jump into each other. The first byte after the Ethernet header picks the handler. */
#include "lesson.h"
#include "packet.h"

int handle_drop(struct xdp_md *ctx);
int handle_bounce(struct xdp_md *ctx);

/* Slots 0 and 1 are filled by the loader, slot 2 is left for whoever loads this, slot 3 does not exist. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(u32));
	__array(values, int(void *));
} handlers SEC(".maps") = {
	.values = {
		[0] = (void *)&handle_drop,
		[1] = (void *)&handle_bounce,
	},
};

SEC("xdp")
int handle_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int handle_bounce(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("xdp")
int handle_redirect(struct xdp_md *ctx)
{
	return XDP_REDIRECT;
}

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	u8 *kind = NEXT_HEADER(&packet, u8);
	if (!eth || !kind)
		return XDP_ABORTED;
	bpf_tail_call(ctx, &handlers, *kind);
	return XDP_PASS; /* only reached when that slot is empty */
}

LICENSE("Dual MIT/GPL");
