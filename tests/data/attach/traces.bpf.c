// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Every way to be called when a process asks for its process group (getpgid): counts[0] calls, [1] returns, [2] the
 * cookie, [3] what the program was given. Each program is loaded alone (only=). */
#include "counted.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

#define GETPGID 121 /* of x86-64 */
#define EPERM 1

struct trace_event_raw_sys_enter {
	u64 unused;
	long id;
	unsigned long args[6];
};

SEC("kprobe") int kprobe_plain(void *ctx)
{
	count(0);
	return 0;
}

SEC("kretprobe/security_task_getpgid") int kretprobe_plain(struct pt_regs *ctx)
{
	count(1);
	keep(3, PT_REGS_RC(ctx));
	return 0;
}

SEC("kprobe/security_task_getpgid") int kprobe_cookie(void *ctx)
{
	count(0);
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("ksyscall/getpgid") int entered_syscall(void *ctx)
{
	count(0);
	return 0;
}

SEC("kretsyscall/getpgid") int left_syscall(struct pt_regs *ctx)
{
	count(1);
	keep(3, PT_REGS_RC(ctx));
	return 0;
}

SEC("ksyscall") int any_syscall(void *ctx)
{
	count(0);
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid") int tracepoint_plain(struct trace_event_raw_sys_enter *ctx)
{
	count(0);
	keep(3, ctx->args[0]);
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgid") int tracepoint_cookie(void *ctx)
{
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("raw_tp/sys_enter") int raw_tracepoint_plain(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == GETPGID)
		count(0);
	return 0;
}

SEC("raw_tp/sys_enter") int raw_tracepoint_cookie(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == GETPGID)
		keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("raw_tp.w/bpf_test_finish") int writing(struct bpf_raw_tracepoint_args *ctx)
{
	int *result = (int *)ctx->args[0];

	count(0);
	*result = -71; /* EPROTO */
	return 0;
}

SEC("tp_btf/sys_enter") int tp_btf_plain(u64 *ctx)
{
	if (ctx[1] == GETPGID)
		count(0);
	return 0;
}

SEC("tp_btf/sys_enter") int tp_btf_cookie(u64 *ctx)
{
	if (ctx[1] == GETPGID)
		keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("fentry/security_task_getpgid") int fentry_plain(u64 *ctx)
{
	count(0);
	return 0;
}

SEC("fexit/security_task_getpgid") int fexit_plain(u64 *ctx)
{
	count(1);
	keep(3, ctx[1]);
	return 0;
}

SEC("fentry/security_task_getpgid") int fentry_cookie(u64 *ctx)
{
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("fentry.s/bpf_fentry_test1") int fentry_sleepable(u64 *ctx)
{
	count(0);
	return 0;
}

SEC("fmod_ret/security_task_getpgid") int modified(u64 *ctx)
{
	count(0);
	return -EPERM;
}

SEC("fsession/security_task_getpgid") int both_ends(u64 *ctx)
{
	count(0);
	return 0;
}

SEC("fentry.multi/security_task_getpgid") int fentry_many(u64 *ctx)
{
	count(0);
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("fexit.multi") int fexit_many(u64 *ctx)
{
	count(1);
	return 0;
}

SEC("fsession.multi/security_task_getpgid") int both_ends_many(u64 *ctx)
{
	count(0);
	return 0;
}

SEC("kprobe.multi/security_task_getpgid") int kprobe_many(void *ctx)
{
	count(0);
	keep(2, bpf_get_attach_cookie(ctx));
	return 0;
}

SEC("kretprobe.multi") int kretprobe_many(void *ctx)
{
	count(1);
	return 0;
}

SEC("kprobe.session/security_task_getpgid") int kprobe_both_ends(void *ctx)
{
	count(0);
	return 0;
}

SEC("lsm/task_getpgid") int refused(u64 *ctx)
{
	count(0);
	return -EPERM;
}

SEC("lsm.s/file_open") int opened(u64 *ctx)
{
	count(0);
	return 0;
}

SEC("lsm_cgroup/socket_create") int refused_in_group(u64 *ctx)
{
	count(0);
	return 0; /* 0 refuses, 1 allows */
}
