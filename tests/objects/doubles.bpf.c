// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Calls of helpers and functions, for tests that replace them, record them or have them fail. Some of the helpers are not
 * there for XDP programs, or not on old kernels: those of `values` can be loaded everywhere only with doubles. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum { AF_INET = 2 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u32);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

int to_drop(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} next SEC(".maps") = {.values = {[0] = (void *)&to_drop}};

__u64 value[16] = {};
__s64 answer[16] = {};

SEC("xdp")
int to_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

/* Numbers from outside. */
SEC("?xdp")
int values(struct xdp_md *ctx)
{
	value[0] = bpf_ktime_get_ns();
	value[1] = bpf_ktime_get_boot_ns();
	value[2] = bpf_ktime_get_coarse_ns(); /* Linux 5.11 */
	value[3] = bpf_ktime_get_tai_ns();    /* Linux 6.1 */
	value[4] = bpf_jiffies64();
	value[5] = bpf_get_prandom_u32();
	value[6] = bpf_get_prandom_u32();
	value[7] = bpf_get_current_cgroup_id();    /* for a process, which XDP programs do not run for */
	value[8] = bpf_get_socket_cookie(ctx); /* not for XDP */
	value[9] = bpf_xdp_get_buff_len(ctx);  /* Linux 5.18 */
	value[10] = bpf_get_smp_processor_id();
	return XDP_PASS;
}

/* What a packet goes through. */
SEC("xdp")
int actions(struct xdp_md *ctx)
{
	__u32 key = 7, item = 9;
	__u64 count = 1, *found;
	struct bpf_fib_lookup route = {.family = AF_INET, .ifindex = 1};

	answer[0] = bpf_map_update_elem(&seen, &key, &count, BPF_NOEXIST);
	found = bpf_map_lookup_elem(&seen, &key);
	answer[1] = found ? (__s64)*found : -1;
	answer[2] = bpf_map_delete_elem(&seen, &key);
	answer[3] = bpf_map_push_elem(&waiting, &item, 0);
	answer[4] = bpf_map_pop_elem(&waiting, &item);
	answer[5] = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &key, sizeof(key));
	answer[6] = bpf_fib_lookup(ctx, &route, sizeof(route), 0);
	answer[7] = bpf_csum_diff(0, 0, &key, sizeof(key), 0);
	answer[8] = bpf_xdp_adjust_head(ctx, 0);
	answer[9] = bpf_xdp_adjust_meta(ctx, -4);
	answer[10] = bpf_xdp_adjust_tail(ctx, 0);
	return bpf_redirect(3, 0);
}

static __noinline int parse(const __u32 *number, int limit)
{
	return *number < (__u32)limit ? (int)*number : -1;
}

__noinline __u64 weigh(__u32 number)
{
	return number * 3ull;
}

static __noinline void note(__u32 number)
{
	answer[15] = number;
}

/* Functions of the object, and a jump into another program. */
SEC("xdp")
int functions(struct xdp_md *ctx)
{
	__u32 number = (__u32)(ctx->data_end - ctx->data);
	int parsed = parse(&number, 1000);

	if (parsed < 0)
		return XDP_ABORTED;
	note((__u32)parsed);
	value[11] = weigh((__u32)parsed);
	bpf_tail_call(ctx, &next, number > 20 ? 1 : 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
