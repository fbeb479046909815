// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a TCP congestion control. The kernel calls these functions for each connection that asks for "lesson_window";
 * this one lets the window grow by one segment for each acknowledgement, up to a limit that the test chooses. */
#include "lesson.h"

struct sock;

struct tcp_sock {
	u32 snd_cwnd;
	u32 snd_ssthresh;
} __attribute__((preserve_access_index));

/* some members of the kernel's struct: names matter, their order does not */
struct tcp_congestion_ops {
	char name[16];
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
};

const volatile u32 limit = 64;
u32 connections, closed, acknowledgements, largest;

SEC("struct_ops/window_init")
void window_init(u64 *ctx)
{
	__sync_fetch_and_add(&connections, 1);
}

SEC("struct_ops/window_release")
void window_release(u64 *ctx)
{
	__sync_fetch_and_add(&closed, 1);
}

SEC("struct_ops/window_threshold")
u32 window_threshold(u64 *ctx)
{
	struct tcp_sock *tp = (void *)ctx[0];

	return tp->snd_cwnd / 2 > 2 ? tp->snd_cwnd / 2 : 2;
}

SEC("struct_ops/window_undo")
u32 window_undo(u64 *ctx)
{
	struct tcp_sock *tp = (void *)ctx[0];

	return tp->snd_cwnd;
}

SEC("struct_ops/window_grow")
void window_grow(u64 *ctx)
{
	struct tcp_sock *tp = (void *)ctx[0];
	u32 window = tp->snd_cwnd + 1;

	__sync_fetch_and_add(&acknowledgements, 1);
	if (window > limit)
		window = limit;
	if (window > largest)
		largest = window;
	tp->snd_cwnd = window;
}

/* ".struct_ops.link" (Linux 6.4) registers it through a link; this form is known since 5.6 */
SEC(".struct_ops")
struct tcp_congestion_ops lesson_window = {
	.name = "lesson_window",
	.init = (void *)window_init,
	.release = (void *)window_release,
	.ssthresh = (void *)window_threshold,
	.undo_cwnd = (void *)window_undo,
	.cong_avoid = (void *)window_grow,
};

LICENSE("Dual MIT/GPL");
