// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a loop the verifier can count (Linux 5.3 and later). Sum up the bytes after the Ethernet header. */
#include "lesson.h"
#include "packet.h"

#define MOST 128

u64 sum = 0;
u32 steps = 0;

SEC("xdp")
int sum_payload(struct xdp_md *ctx)
{
	struct cursor packet = CURSOR(ctx);
	struct ethhdr *eth = NEXT_HEADER(&packet, struct ethhdr);
	if (!eth)
		return XDP_DROP;
	u64 total = 0;
	u32 i;
#pragma clang loop unroll(disable)
	for (i = 0; i < MOST; i++) {
		u8 *byte = NEXT_HEADER(&packet, u8);
		if (!byte)
			break;
		total += *byte;
	}
	sum = total;
	steps = i;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
