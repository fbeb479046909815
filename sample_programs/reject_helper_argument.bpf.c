// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a helper that wants a map gets a number. */
#include "lesson.h"

SEC("xdp")
int wrong_argument(struct xdp_md *ctx)
{
	u32 key = 0;
	void *not_a_map = (void *)(long)ctx->ingress_ifindex;
	return bpf_map_delete_elem(not_a_map, &key) ? XDP_DROP : XDP_PASS;
}

LICENSE("Dual MIT/GPL");
