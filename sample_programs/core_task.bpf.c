// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: CO-RE. Follow pointers through structures whose layout differs from kernel to kernel:
 * task->real_parent->tgid. */
#include "lesson.h"
#include "kernel_types.h"
#include <bpf/bpf_core_read.h>

struct family {
	u32 tgid;
	u32 parent_tgid;
	char comm[16];
	char parent_comm[16];
};

struct family family = {};

/* What the kernel says about its own types. */
u32 task_size = 0;
bool has_comm = false;
bool has_moon_phase = false;

struct task_struct___imagined {
	int moon_phase;
} RELOCATABLE;

SEC("raw_tp/sys_enter")
int read_family(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	family.tgid = BPF_CORE_READ(task, tgid);
	family.parent_tgid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_STR_INTO(&family.comm, task, comm);
	BPF_CORE_READ_STR_INTO(&family.parent_comm, task, real_parent, comm);
	return 0;
}

SEC("raw_tp/sys_exit")
int ask_kernel(void *ctx)
{
	struct task_struct___imagined *imagined = (void *)bpf_get_current_task();
	task_size = bpf_core_type_size(struct task_struct);
	has_comm = bpf_core_field_exists(((struct task_struct *)0)->comm);
	has_moon_phase = bpf_core_field_exists(imagined->moon_phase);
	if (has_moon_phase) /* dead code on every kernel: the loader resolved the question before the verifier looks */
		task_size = BPF_CORE_READ(imagined, moon_phase);
	return 0;
}

LICENSE("Dual MIT/GPL");
