// SPDX-License-Identifier: MIT
/* Rejected: a helper that the kernel keeps for programs under the GPL. */
#include "lesson.h"

char text[16] = {};

SEC("raw_tp/sys_enter")
int wrong_licence(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_probe_read_kernel(text, sizeof(text), (void *)ctx->args[0]) ? 1 : 0;
}

LICENSE("Proprietary");
