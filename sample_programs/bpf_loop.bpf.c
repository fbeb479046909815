// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: bpf_loop() (Linux 5.17 and later). The verifier looks at the body once, however often it runs. */
#include "lesson.h"

const volatile u32 rounds = 1000;

struct state {
	u64 sum;
	u32 stop_at;
};

u64 sum = 0;
s64 done = 0;
u32 stop_at = 0xffffffff;

static long add(u32 index, struct state *state)
{
	if (index == state->stop_at)
		return 1; /* ends the loop */
	state->sum += index;
	return 0;
}

SEC("xdp")
int sum_up(struct xdp_md *ctx)
{
	struct state state = {.stop_at = stop_at};
	done = bpf_loop(rounds, add, &state, 0);
	sum = state.sum;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
