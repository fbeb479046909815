// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a program whose context is everything. Decide about sockets by what is looked up, not by packet bytes. */
#include "lesson.h"

const volatile u32 closed_port = 23;

SEC("sk_lookup")
int guard(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == closed_port ? SK_DROP : SK_PASS;
}

LICENSE("Dual MIT/GPL");
