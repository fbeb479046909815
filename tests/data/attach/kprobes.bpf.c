// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Many functions of the kernel by one link: counts[0] entries, [1] returns, [2] the cookie, [3] sessions. */
#include "counted.h"

SEC("kprobe.multi")
int entered(void *ctx)
{
	count(0);
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("kretprobe.multi")
int returned(void *ctx)
{
	count(1);
	return 0;
}

SEC("kprobe.session")
int both(void *ctx)
{
	count(3);
	return 0;
}
