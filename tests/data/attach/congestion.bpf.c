// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* A TCP congestion control in BPF: a window that never grows beyond "limit" segments. Two tables of the same name: the
 * second takes the place of the first while connections use it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

typedef __u32 u32;

struct sock {
} __attribute__((preserve_access_index));

struct tcp_sock {
	u32 snd_cwnd;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	char name[16];
	unsigned int (*ssthresh)(struct sock *sk);
	unsigned int (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
};

u32 limit = 4;
u32 acknowledged = 0, acknowledged_by_second = 0, largest = 0;

static __always_inline void grow(struct tcp_sock *tp)
{
	u32 window = tp->snd_cwnd < limit ? tp->snd_cwnd + 1 : limit;

	tp->snd_cwnd = window;
	if (window > largest)
		largest = window;
}

SEC("struct_ops")
unsigned int BPF_PROG(half_window, struct sock *sk)
{
	u32 window = ((struct tcp_sock *)sk)->snd_cwnd / 2;

	return window < 2 ? 2 : window;
}

SEC("struct_ops")
unsigned int BPF_PROG(same_window, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC("struct_ops")
void BPF_PROG(avoid, struct sock *sk, u32 ack, u32 acked)
{
	acknowledged += acked;
	grow((struct tcp_sock *)sk);
}

SEC("struct_ops")
void BPF_PROG(avoid_second, struct sock *sk, u32 ack, u32 acked)
{
	acknowledged_by_second += acked;
	grow((struct tcp_sock *)sk);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops first = {
	.name = "pe_fixed",
	.ssthresh = (void *)half_window,
	.undo_cwnd = (void *)same_window,
	.cong_avoid = (void *)avoid,
};

SEC(".struct_ops.link")
struct tcp_congestion_ops second = {
	.name = "pe_fixed",
	.ssthresh = (void *)half_window,
	.undo_cwnd = (void *)same_window,
	.cong_avoid = (void *)avoid_second,
};

char LICENSE[] SEC("license") = "GPL";
