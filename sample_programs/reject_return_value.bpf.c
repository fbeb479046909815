// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Rejected: a cgroup connect hook answers yes (1) or no (0), nothing else. */
#include "lesson.h"

SEC("cgroup/connect4")
int wrong_answer(struct bpf_sock_addr *ctx)
{
	return ctx->user_port ? 7 : 1;
}

LICENSE("Dual MIT/GPL");
