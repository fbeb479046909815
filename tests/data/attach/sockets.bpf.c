// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A group's TCP sockets are put into a map; what they send ([0]) and receive ([1]) is counted, or refused ([2]). */
#include "counted.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} sockets SEC(".maps");

SEC("sockops")
int established(struct bpf_sock_ops *ctx)
{
	u32 slot;

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	slot = ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB;
	bpf_sock_map_update(ctx, &sockets, &slot, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int sending(struct sk_msg_md *ctx)
{
	count(0);
	return SK_PASS;
}

SEC("sk_msg")
int refusing(struct sk_msg_md *ctx)
{
	count(2);
	return SK_DROP;
}

SEC("sk_skb/verdict")
int receiving(struct __sk_buff *ctx)
{
	count(1);
	return SK_PASS;
}
