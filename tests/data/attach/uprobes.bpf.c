// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Functions of user space: counts[0] entries, counts[1] returns, counts[2] the cookie; counts[3] and [4] of many. */
#include "counted.h"

SEC("uprobe")
int entered(void *ctx)
{
	count(0);
	return 0;
}

SEC("uretprobe")
int returned(void *ctx)
{
	count(1);
	return 0;
}

SEC("uprobe")
int with_cookie(void *ctx)
{
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("uprobe.multi")
int many(void *ctx)
{
	count(3);
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("uretprobe.multi")
int many_returned(void *ctx)
{
	count(4);
	return 0;
}

SEC("uprobe.session")
int both_ends(void *ctx)
{
	count(5);
	return 0;
}

SEC("uprobe.s")
int sleeping(void *ctx)
{
	count(0);
	return 0;
}
