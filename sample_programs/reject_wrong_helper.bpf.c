// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a helper that this type of program does not have. Only kprobes may change a return value. */
#include "lesson.h"

SEC("raw_tp/sys_enter")
int wrong_helper(struct bpf_raw_tracepoint_args *ctx)
{
	bpf_override_return((struct pt_regs *)ctx, 0);
	return 0;
}

LICENSE("Dual MIT/GPL");
