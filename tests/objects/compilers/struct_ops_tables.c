/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 13: `uses_optional` names a program in SEC("?struct_ops"), which has to be loaded with it; `off` is in a
 * section with "?" and brings `only_off` when it is asked for; plain members (flags, name) can be set before the load. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 flags;
	char name[16];
};

SEC("struct_ops") __u32 BPF_PROG(ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops") void BPF_PROG(cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
}

SEC("struct_ops") __u32 BPF_PROG(undo_cwnd, struct sock *sk)
{
	return 2;
}

SEC("?struct_ops") __u32 BPF_PROG(optional_undo, struct sock *sk)
{
	return 4;
}

SEC("?struct_ops") __u32 BPF_PROG(only_off, struct sock *sk)
{
	return 6;
}

SEC(".struct_ops.link") struct tcp_congestion_ops plain = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "p2_plain",
};

SEC(".struct_ops.link") struct tcp_congestion_ops uses_optional = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)optional_undo,
	.name = "p2_optional",
};

SEC("?.struct_ops.link") struct tcp_congestion_ops off = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)only_off,
	.name = "p2_off",
};

char _license[] SEC("license") = "GPL";
