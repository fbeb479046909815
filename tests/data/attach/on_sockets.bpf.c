// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Programs on single sockets, on groups of them, and on what looks for a socket. */
#include "counted.h"

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} group SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} listening SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} kept SEC(".maps");

u32 chosen = 0;

SEC("socket")
int let_in(struct __sk_buff *ctx)
{
	count(0);
	return -1; /* the whole packet */
}

SEC("socket")
int keep_out(struct __sk_buff *ctx)
{
	count(1);
	return 0;
}

SEC("socket")
int choose(struct __sk_buff *ctx)
{
	count(2);
	return chosen; /* the index in the group */
}

SEC("sk_reuseport")
int select_socket(struct sk_reuseport_md *ctx)
{
	u32 slot = chosen;

	count(3);
	return bpf_sk_select_reuseport(ctx, &group, &slot, 0) ? SK_DROP : SK_PASS;
}

SEC("sk_reuseport/migrate")
int migrate(struct sk_reuseport_md *ctx)
{
	u32 slot = chosen;

	if (ctx->migrating_sk)
		count(4);
	return bpf_sk_select_reuseport(ctx, &group, &slot, 0) ? SK_DROP : SK_PASS;
}

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx)
{
	u32 slot = 0;
	struct bpf_sock *sk = bpf_map_lookup_elem(&listening, &slot);

	if (!sk)
		return SK_PASS;
	count(5);
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}

SEC("sk_lookup")
int refuse(struct bpf_sk_lookup *ctx)
{
	count(6);
	return SK_DROP;
}

SEC("sk_skb/stream_parser")
int parse(struct __sk_buff *ctx)
{
	count(7);
	return ctx->len;
}

SEC("sk_skb/stream_verdict")
int judge(struct __sk_buff *ctx)
{
	count(0);
	return SK_PASS;
}

SEC("sk_skb")
int any_role(struct __sk_buff *ctx)
{
	count(1);
	return SK_DROP;
}
