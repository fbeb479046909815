// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: the fields of an XDP context are for reading. */
#include "lesson.h"

SEC("xdp")
int write_context(struct xdp_md *ctx)
{
	ctx->ingress_ifindex = 1;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
