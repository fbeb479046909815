/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Two TCP congestion controls that the kernel can use: one registered through a link, one by its map alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sock;

/* some members of the kernel's, in another order; only names matter */
struct tcp_congestion_ops {
	char name[16];
	unsigned int flags;
	unsigned int (*ssthresh)(struct sock *sk);
	unsigned int (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, unsigned int ack, unsigned int acked);
	int (*no_kernel_has_this)(void);
};

SEC("struct_ops/half") unsigned int half(unsigned long long *ctx)
{
	return 2;
}

SEC("struct_ops") unsigned int undo(unsigned long long *ctx)
{
	return 10;
}

SEC("struct_ops") void avoid(unsigned long long *ctx)
{
}

SEC(".struct_ops.link") struct tcp_congestion_ops linked = {
	.name = "pe_linked",
	.ssthresh = (void *)half,
	.undo_cwnd = (void *)undo,
	.cong_avoid = (void *)avoid,
};

SEC(".struct_ops") struct tcp_congestion_ops plain = {
	.name = "pe_plain",
	.ssthresh = (void *)half,
	.undo_cwnd = (void *)undo,
	.cong_avoid = (void *)avoid,
};

char LICENSE[] SEC("license") = "GPL";
