// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A netfilter hook that counts, and one that drops. */
#include "counted.h"

#define NF_DROP 0
#define NF_ACCEPT 1

SEC("netfilter")
int seen(void *ctx)
{
	count(0);
	return NF_ACCEPT;
}

SEC("netfilter")
int dropped(void *ctx)
{
	count(1);
	return NF_DROP;
}
