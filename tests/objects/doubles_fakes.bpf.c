// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Functions that stand in for those that the programs of other objects call. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} routes_asked SEC(".maps");

/* bpf_fib_lookup(): every route leads to interface 42. */
__noinline long fib(void *ctx, struct bpf_fib_lookup *params, int plen, __u32 flags)
{
	__u32 zero = 0, *asked = bpf_map_lookup_elem(&routes_asked, &zero);

	if (asked)
		++*asked;
	params->ifindex = 42;
	return BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* bpf_xdp_metadata_rx_timestamp() */
__noinline int timestamp(const struct xdp_md *ctx, __u64 *when)
{
	*when = 1234567;
	return 0;
}

/* parse() of doubles.bpf.c */
__noinline int parse_fast(const __u32 *number, int limit)
{
	return 5;
}

__noinline int one_argument(const __u32 *number)
{
	return 5;
}

char _license[] SEC("license") = "GPL";
