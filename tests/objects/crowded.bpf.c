// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Programs that leave an instrumented copy little room, or go ways of their own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
	__array(values, int (void *));
} next SEC(".maps");

__u64 total;

/* All 512 bytes of the stack are in use across the calls. */
SEC("xdp") int full(struct xdp_md *ctx)
{
	volatile char room[504];
	__u32 key = 0;
	__u64 *value;

	for (int i = 0; i < 504; i++)
		room[i] = i;
	value = bpf_map_lookup_elem(&seen, &key);
	if (value)
		*value += room[ctx->rx_queue_index & 255] + 1;
	total += bpf_ktime_get_ns() > 0;
	return room[200] + room[3] == (char)203 ? XDP_PASS : XDP_DROP;
}

static long step(__u32 index, void *data)
{
	__u32 key = index & 3;
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		*value += index;
	*(__u64 *)data += index;
	return index == 90;
}

SEC("xdp") int callbacks(struct xdp_md *ctx)
{
	__u64 sum = 0;
	long did = bpf_loop(100, step, &sum, 0);

	total = sum;
	return did == 91 ? XDP_PASS : XDP_DROP;
}

/* A global function, verified by itself. */
__attribute__((noinline)) int weigh(struct xdp_md *ctx, int more)
{
	__u32 key = 1;
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	return value ? (int)*value + more + (int)(ctx->rx_queue_index) : -1;
}

SEC("xdp") int global(struct xdp_md *ctx)
{
	return weigh(ctx, 3) + weigh(ctx, 4) == 7 ? XDP_PASS : XDP_DROP;
}

/* A tail call inside a function: below it, only 256 bytes of stack. */
static __attribute__((noinline)) int leave(struct xdp_md *ctx, __u32 where)
{
	volatile char room[200];

	room[where & 127] = 3;
	bpf_tail_call(ctx, &next, where & 1);
	return room[where & 127];
}

SEC("xdp") int left(struct xdp_md *ctx)
{
	total += 10;
	return leave(ctx, ctx->rx_queue_index) == 3 ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int replaced(struct xdp_md *ctx)
{
	return weigh(ctx, 2);
}

SEC("freplace/weigh") int heavier(struct xdp_md *ctx, int more)
{
	total += bpf_ktime_get_ns() > 0;
	return more + 100;
}

struct bpf_iter_num { __u64 opaque[1]; } __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym __weak;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym __weak;

SEC("xdp") int iterates(struct xdp_md *ctx)
{
	struct bpf_iter_num it;
	int *at, sum = 0;

	bpf_iter_num_new(&it, 0, 50);
	while ((at = bpf_iter_num_next(&it))) {
		__u32 key = *at & 3;
		__u64 *value = bpf_map_lookup_elem(&seen, &key);

		if (value)
			*value += *at;
		sum += *at;
		if (sum > 500)
			break;
	}
	bpf_iter_num_destroy(&it);
	return sum == 528 ? XDP_PASS : XDP_DROP;
}

SEC("syscall") int sleepy(void *ctx)
{
	char text[16];

	return bpf_copy_from_user(text, sizeof(text), 0) == -14 ? 5 : 6;
}

char _license[] SEC("license") = "GPL";
