/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 7: see extern_map_user.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} another SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u32);
} elsewhere SEC(".maps");

SEC("tc") int defines(struct __sk_buff *ctx)
{
	__u32 key = 1, *found = bpf_map_lookup_elem(&elsewhere, &key), *more = bpf_map_lookup_elem(&another, &key);

	return (found ? *found : 0) + (more ? 100 : 0);
}

char _license[] SEC("license") = "GPL";
