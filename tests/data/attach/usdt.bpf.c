// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* USDT probes: counts[0] hits, [1] to [5] the arguments of the last one, [6] how many there are, [7] the cookie. */
#include "counted.h"
#include <stdbool.h>
#include <linux/ptrace.h>
#include <bpf/usdt.bpf.h>

SEC("usdt")
int seen(struct pt_regs *ctx)
{
	long value = 0;

	count(0);
	keep(6, bpf_usdt_arg_cnt(ctx));
	keep(7, bpf_usdt_cookie(ctx));
	bpf_usdt_arg(ctx, 0, &value);
	keep(1, value);
	bpf_usdt_arg(ctx, 1, &value);
	keep(2, value);
	bpf_usdt_arg(ctx, 2, &value);
	keep(3, value);
	bpf_usdt_arg(ctx, 3, &value);
	keep(4, value);
	bpf_usdt_arg(ctx, 4, &value);
	keep(5, value);
	return 0;
}
