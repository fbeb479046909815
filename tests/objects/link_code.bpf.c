/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The code under test of a pair that is linked: what link_test.bpf.c declares extern is defined here. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 16);
} seen SEC(".maps");

int calls = 3;
static int mine = 5;
const volatile int limit = 7;
__weak int weak_var = 1;

__weak int scale(int x)
{
	return x * 2;
}

__attribute__((noinline)) int add_up(int x)
{
	__u32 key = x;
	__u64 value = 1;

	calls += 1;
	mine += 1;
	bpf_map_update_elem(&seen, &key, &value, 0);
	return x + limit + mine;
}

SEC("xdp") int prog(struct xdp_md *ctx)
{
	return add_up(1) + scale(weak_var);
}

char LICENSE[] SEC("license") = "GPL";
