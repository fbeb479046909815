/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A program that does nothing for as long as it is told to: what a kernel's watchdogs are there for, without harm. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SIZE (3 << 20)
#define ROUNDS 8000 /* of which each leaves a branch for later; the verifier keeps 8192 */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[SIZE]);
} memory SEC(".maps");

__u64 nanoseconds, rounds;

SEC("xdp")
int linger(struct xdp_md *ctx)
{
	__u64 start = bpf_ktime_get_ns();
	__u32 key = 0;
	void *all = bpf_map_lookup_elem(&memory, &key);

	if (!all)
		return XDP_ABORTED;
	for (__u32 round = 0; round < ROUNDS; round++) {
		if (bpf_ktime_get_ns() - start > nanoseconds)
			break;
		bpf_probe_read_kernel(all, SIZE, all); /* megabytes, many times as long as a round of this loop */
		rounds++;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
