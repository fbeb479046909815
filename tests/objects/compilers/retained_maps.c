/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 1: two sections ".maps" (`retain`). libbpf refuses this one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} plain SEC(".maps");

__attribute__((retain, used)) struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} kept SEC(".maps");

/* key 0 is in both, key 2 in the second alone */
SEC("tc") int gives_3(struct __sk_buff *ctx)
{
	__u32 zero = 0, two = 2;

	return !!bpf_map_lookup_elem(&plain, &zero) + !!bpf_map_lookup_elem(&kept, &zero) +
	       !!bpf_map_lookup_elem(&kept, &two) + !!bpf_map_lookup_elem(&plain, &two);
}

char _license[] SEC("license") = "GPL";
