// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: a kprobe with a typed argument. wake_up_new_task(struct task_struct *) runs once for each new task. */
#include "lesson.h"
#include "kernel_types.h"
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

struct comm {
	char text[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct comm);
	__type(value, u64);
} forks SEC(".maps"); /* name of the parent -> its new tasks */

SEC("kprobe/wake_up_new_task")
int BPF_KPROBE(count_fork, struct task_struct *child)
{
	struct comm parent = {};
	u64 one = 1;

	BPF_CORE_READ_STR_INTO(&parent.text, child, real_parent, comm);
	u64 *count = bpf_map_lookup_elem(&forks, &parent);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&forks, &parent, &one, BPF_NOEXIST);
	return 0;
}

LICENSE("Dual MIT/GPL");
