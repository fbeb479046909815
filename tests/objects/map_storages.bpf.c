/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Values that hang on sockets and control groups, counted for what leaves a cgroup. Linux 5.10 has them all. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u32 packets;
	__u32 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct traffic);
} by_socket SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, struct traffic);
} by_hook SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct traffic);
} by_group SEC(".maps");

static void count(struct traffic *traffic, __u32 bytes)
{
	__sync_fetch_and_add(&traffic->packets, 1);
	__sync_fetch_and_add(&traffic->bytes, bytes);
}

SEC("cgroup_skb/egress")
int account(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct traffic *found;

	count(bpf_get_local_storage(&by_hook, 0), skb->len);
	count(bpf_get_local_storage(&by_group, 0), skb->len);
	if (!sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	found = bpf_sk_storage_get(&by_socket, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (found)
		count(found, skb->len);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
