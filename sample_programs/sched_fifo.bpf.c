// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a scheduler (sched_ext, Linux 6.12). Whoever becomes runnable goes to the end of one queue for all; the kernel
 * takes from its front. While it is attached, it schedules every ordinary task of the machine. */
#include "lesson.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

/* some members of the kernel's struct: names matter, their order does not */
struct sched_ext_ops {
	void (*enqueue)(struct task_struct *p, u64 flags);
	void (*running)(struct task_struct *p);
	u32 timeout_ms;
	char name[128];
};

#define SCX_DSQ_GLOBAL (1ULL << 63 | 1)

extern void scx_bpf_dsq_insert(struct task_struct *p, u64 queue, u64 slice, u64 flags) __ksym __weak;
extern void scx_bpf_dispatch(struct task_struct *p, u64 queue, u64 slice, u64 flags) __ksym __weak; /* until 6.12 */

const volatile u64 slice = 5 * 1000 * 1000; /* ns */
u64 queued, started;

SEC("struct_ops/fifo_enqueue")
void fifo_enqueue(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];

	__sync_fetch_and_add(&queued, 1);
	if (scx_bpf_dsq_insert)
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, slice, ctx[1]);
	else
		scx_bpf_dispatch(p, SCX_DSQ_GLOBAL, slice, ctx[1]);
}

SEC("struct_ops/fifo_running")
void fifo_running(u64 *ctx)
{
	__sync_fetch_and_add(&started, 1);
}

SEC(".struct_ops.link")
struct sched_ext_ops lesson_fifo = {
	.enqueue = (void *)fifo_enqueue,
	.running = (void *)fifo_running,
	.timeout_ms = 5000,
	.name = "lesson_fifo",
};

LICENSE("GPL");
