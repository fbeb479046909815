/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 5: several prototypes of one kfunc, as sched_ext's compat.bpf.h declares them. Those that differ from the
 * kernel's count as missing when they are weak. `which` returns what it called: 2 (the second is the right one). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

/* too many arguments; the right ones; the right ones again, under a name with two flavours */
extern struct task_struct *bpf_task_from_pid___v1(int pid, __u64 flags) __ksym __weak;
extern struct task_struct *bpf_task_from_pid___v2(int pid) __ksym __weak;
extern struct task_struct *bpf_task_from_pid___v2___compat(int pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym;

SEC("syscall") int which(void *ctx)
{
	struct task_struct *task;
	int number;

	if (&bpf_task_from_pid___v1) {
		task = bpf_task_from_pid___v1(1, 0);
		number = 1;
	} else if (&bpf_task_from_pid___v2) {
		task = bpf_task_from_pid___v2(1);
		number = 2;
	} else {
		return 0;
	}
	if (task)
		bpf_task_release(task);
	return number;
}

SEC("syscall") int compat(void *ctx)
{
	struct task_struct *task;

	if (!&bpf_task_from_pid___v2___compat)
		return 0;
	task = bpf_task_from_pid___v2___compat(1);
	if (task)
		bpf_task_release(task);
	return 3;
}

char _license[] SEC("license") = "GPL";
