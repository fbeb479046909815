// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a cgroup hook. Processes of the cgroup may not connect to one port; connect(2) fails with EPERM. */
#include "lesson.h"

const volatile u16 forbidden_port = 9;

u64 allowed = 0;
u64 denied = 0;
u8 last_address[4] = {};

SEC("cgroup/connect4")
int filter_connect(struct bpf_sock_addr *ctx)
{
	u32 address = ctx->user_ip4;
	__builtin_memcpy(last_address, &address, sizeof(last_address));
	if (ctx->user_port == bpf_htons(forbidden_port)) {
		__sync_fetch_and_add(&denied, 1);
		return 0;
	}
	__sync_fetch_and_add(&allowed, 1);
	return 1;
}

LICENSE("Dual MIT/GPL");
