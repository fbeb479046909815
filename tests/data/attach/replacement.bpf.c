// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What goes in the place of decide() in replaced.bpf.c. */
#include "counted.h"

SEC("freplace/decide")
int drop_instead(struct xdp_md *ctx)
{
	count(2);
	return XDP_DROP;
}

SEC("freplace/decide")
int abort_instead(struct xdp_md *ctx)
{
	count(3);
	return XDP_ABORTED;
}
