/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Tags that make no sense. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../../sample_programs/include/expectations.h"

SEC("xdp") __failure __msg("off={{[0-9+}}")
int bad_regex(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __success __failure
int contradicts_itself(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __retval(two)
int bad_number(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __flag(BPF_F_STRICT_ALIGMENT)
int bad_flag(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __kernel("6.1 and later")
int bad_kernel(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __success EXPECT("test_expect_warning=soon")
int unknown_tag(struct xdp_md *ctx)
{
	return 2;
}

/* A function that others call is no program: nobody would ever test it. */
__success __attribute__((noinline)) int no_program(int a)
{
	return a * 3;
}

SEC("xdp") __success
int calls_it(struct xdp_md *ctx)
{
	return no_program(ctx->data_end - ctx->data) ? 2 : 1;
}

char _license[] SEC("license") = "GPL";
