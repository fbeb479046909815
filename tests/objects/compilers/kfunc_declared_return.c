/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 5: the kfunc returns a pointer to a struct that is only declared here: BTF has FWD, the kernel STRUCT. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task_struct;
extern struct task_struct *bpf_task_from_pid(int pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

SEC("syscall") int declared(void *ctx)
{
	struct task_struct *task;

	if (!&bpf_task_from_pid)
		return 0;
	task = bpf_task_from_pid(1);
	if (task)
		bpf_task_release(task);
	return 4;
}

char _license[] SEC("license") = "GPL";
