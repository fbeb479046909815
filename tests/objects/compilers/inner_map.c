/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 20: `other` does not fit into `outer` (a value of 8 bytes instead of 4): the error names the field. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} fits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {&fits}};

#ifdef WRONG
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} wrong SEC(".maps") = {.values = {[1] = (void *)&other}};
#endif

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&outer, &zero) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
