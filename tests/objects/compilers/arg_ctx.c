/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 6: __arg_ctx on global functions whose context has another type than the program's. Kernels before 6.8
 * do not know the tag; libbpf rewrites the prototype to what each program type has there. Returns 5. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))

__attribute__((noinline)) int from_any(void *ctx __arg_ctx)
{
	char buffer[8] = {};

	return bpf_get_stack(ctx, buffer, sizeof(buffer), 0) < -100 ? 1 : 5;
}

__attribute__((noinline)) int mark(void *ctx __arg_ctx, int more)
{
	struct __sk_buff *skb = ctx;

	return skb->mark + more;
}

__attribute__((noinline)) int length(void *ctx __arg_ctx)
{
	struct xdp_md *xdp = ctx;

	return xdp->data_end - xdp->data;
}

SEC("kprobe/do_nanosleep") int on_kprobe(void *ctx)
{
	return from_any(ctx);
}

SEC("tracepoint/syscalls/sys_enter_getpid") int on_tracepoint(void *ctx)
{
	return from_any(ctx);
}

SEC("raw_tp/sys_enter") int on_raw_tp(void *ctx)
{
	return from_any(ctx);
}

SEC("perf_event") int on_perf_event(void *ctx)
{
	return from_any(ctx);
}

SEC("tc") int gives_5(struct __sk_buff *ctx)
{
	return mark(ctx, 5);
}

SEC("xdp") int gives_64(struct xdp_md *ctx)
{
	return length(ctx);
}

char _license[] SEC("license") = "GPL";
