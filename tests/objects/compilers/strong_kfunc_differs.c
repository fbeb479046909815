/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 5: a kfunc that is not weak and whose prototype differs stays an error. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern __u64 bpf_task_release(int pid, __u64 flags, __u64 more) __ksym;

SEC("syscall") int differs(void *ctx)
{
	return bpf_task_release(1, 2, 3);
}

char _license[] SEC("license") = "GPL";
