/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Expectations that no kernel meets: each program says something wrong about itself. And some that are met, which lean
 * on what stands beside them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../../sample_programs/include/expectations.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} answers SEC(".maps");

SEC("xdp") __success
int rejected_after_all(struct xdp_md *ctx)
{
	return *(char *)(long)ctx->data;
}

SEC("xdp") __failure __msg("invalid access to packet")
int accepted_after_all(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __failure __msg("invalid access to packet, off=1 size=8")
int for_another_reason(struct xdp_md *ctx)
{
	return *(char *)(long)ctx->data;
}

SEC("xdp") __failure __msg("(71) r0 =") __not_msg("invalid access to packet")
int unexpectedly_said(struct xdp_md *ctx)
{
	return *(char *)(long)ctx->data;
}

SEC("xdp") __retval(1)
int returns_two(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp") __xlated("{{[rw]}}0 = 2") __xlated("{{[rw]}}0 = 3")
int other_code(struct xdp_md *ctx)
{
	return 2;
}

/* No tag at all: it has to load, as its neighbours have some. */
SEC("xdp")
int without_tags(struct xdp_md *ctx)
{
	return 2;
}

/* What it returns is for the test's conftest to say. */
SEC("xdp") __retval(42)
int answer_of_the_map(struct xdp_md *ctx)
{
	__u32 key = 0, *value = bpf_map_lookup_elem(&answers, &key);
	return value ? *value : 0;
}

char _license[] SEC("license") = "GPL";
