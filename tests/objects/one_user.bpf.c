/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A map that one program alone may use, once it is told to be exclusive. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} secret SEC(".maps");

__attribute__((noinline)) static __u64 look(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&secret, &key);

	return value ? *value : 0;
}

int bias = 2;

SEC("socket") int user(struct __sk_buff *skb)
{
	return look(0) + bias;
}

SEC("?socket") int intruder(struct __sk_buff *skb)
{
	return look(0) + 1;
}

char LICENSE[] SEC("license") = "GPL";
