/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The test's part: it calls a function of link_code.bpf.c, shares a map and a variable with it, and replaces what is
 * weak there. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 16);
} seen SEC(".maps");

extern int calls;
extern int add_up(int x);

static int mine = 100;
int weak_var = 40;
int zeroed[3];

int scale(int x)
{
	return x * 10;
}

SEC("xdp") int test(struct xdp_md *ctx)
{
	__u32 key = 2;
	int sum = add_up(2);
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	mine++;
	zeroed[1] = mine;
	return sum * 1000 + calls + (value ? (int)*value : 0);
}

SEC("xdp") int test2(struct xdp_md *ctx)
{
	return scale(2) + weak_var;
}

char LICENSE[] SEC("license") = "GPL";
