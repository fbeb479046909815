/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stacks of the kernel and of user space, taken in the middle of a test run. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define STACKS(name, flags, entry)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_STACK_TRACE);                                                                \
		__uint(max_entries, 64);                                                                               \
		__uint(map_flags, flags);                                                                              \
		__uint(key_size, sizeof(__u32));                                                                       \
		__uint(value_size, 64 * (entry));                                                                      \
	} name SEC(".maps")

STACKS(stacks, 0, sizeof(__u64));
STACKS(by_build_id, BPF_F_STACK_BUILD_ID, sizeof(struct bpf_stack_build_id));

__u32 pid;
int in_kernel, in_user, built;

SEC("raw_tp/sys_enter")
int take(void *ctx)
{
	pid = bpf_get_current_pid_tgid() >> 32;
	in_kernel = bpf_get_stackid(ctx, &stacks, 0);
	in_user = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	built = bpf_get_stackid(ctx, &by_build_id, BPF_F_USER_STACK);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
