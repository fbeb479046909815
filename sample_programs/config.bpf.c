// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: global variables. What is const volatile is settled before the program loads (and the verifier knows the
 * value); the rest can be read and written while it runs. */
#include "lesson.h"

struct limits {
	u32 smallest;
	u32 largest;
};

const volatile struct limits limits = {.smallest = 64, .largest = 1500}; /* .rodata */
const volatile bool strict = false;
const volatile char label[16] = "samples";

s64 budget = 3;	 /* .data: starts with a value */
u64 accepted = 0; /* .bss: starts at zero */
u64 refused = 0;
u32 last_size = 0;

SEC("xdp")
int police(struct xdp_md *ctx)
{
	u32 size = ctx->data_end - ctx->data;
	last_size = size;
	if (size < limits.smallest || size > limits.largest || budget <= 0) {
		refused++;
		return strict ? XDP_ABORTED : XDP_DROP;
	}
	budget--;
	accepted++;
	return XDP_PASS;
}

LICENSE("Dual MIT/GPL");
