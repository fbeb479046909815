/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 7: an extern map comes first in the file; extern_map.c defines it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} extern_map SEC(".maps");

extern struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u32);
} elsewhere SEC(".maps");

SEC("tc") int uses(struct __sk_buff *ctx)
{
	__u32 key = 1, value = 3, *found;
	__u64 *own = bpf_map_lookup_elem(&extern_map, &key);

	bpf_map_update_elem(&elsewhere, &key, &value, BPF_ANY);
	found = bpf_map_lookup_elem(&elsewhere, &key);
	return (found ? *found : 0) + (own ? 4 : 0);
}

char _license[] SEC("license") = "GPL";
