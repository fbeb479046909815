/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 9: `with_new` sets a member that no kernel has; without it (libbpf: set to NULL; here
 * programs={"not_yet": False}) the table loads. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*not_yet)(struct sock *sk);
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

SEC("struct_ops") void BPF_PROG(not_yet, struct sock *sk)
{
}

SEC(".struct_ops.link") struct tcp_congestion_ops with_new = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.not_yet = (void *)not_yet,
	.name = "p2_new",
};

char _license[] SEC("license") = "GPL";
