// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a SYSCALL program (Linux 5.14 and later) is a function in the kernel that a test can call: its context is
 * its arguments, and what it writes there comes back. */
#include "lesson.h"

struct request {
	u32 base;
	u32 exponent;
	u64 result;
	u32 overflowed;
};

SEC("syscall")
int power(struct request *request)
{
	u64 result = 1;

	if (request->exponent > 64)
		return -22; /* EINVAL */
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 64; i++) {
		if (i >= request->exponent || result >> 32)
			break;
		result *= request->base;
	}
	request->overflowed = result >> 32 != 0;
	request->result = result;
	return 0;
}

LICENSE("Dual MIT/GPL");
