// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Programs that say what they are told to say, for paths: each counts its packets and marks them. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define REDIRECT 4

int verdict = 0; /* what the program returns; REDIRECT of XDP: to interface target */
int target = 0;
int mark = 0; /* stored in the last byte of the destination address, unless 0 */
unsigned long long seen = 0;

SEC("xdp")
int any_xdp(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	if (data + 14 > (unsigned char *)(long)ctx->data_end)
		return XDP_ABORTED;
	__sync_fetch_and_add(&seen, 1);
	if (mark)
		data[5] = mark;
	return verdict == REDIRECT ? bpf_redirect(target, 0) : verdict;
}

static __always_inline int decide(struct __sk_buff *skb)
{
	unsigned char byte = mark;
	__sync_fetch_and_add(&seen, 1);
	if (byte && bpf_skb_store_bytes(skb, 5, &byte, 1, 0))
		return TC_ACT_SHOT;
	return verdict == TC_ACT_REDIRECT ? bpf_redirect(target, 0) : verdict;
}

SEC("tc")
int any_tc(struct __sk_buff *skb)
{
	return decide(skb);
}

SEC("tc/egress")
int any_tc_egress(struct __sk_buff *skb)
{
	return decide(skb);
}

SEC("socket")
int no_path(struct __sk_buff *skb)
{
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
