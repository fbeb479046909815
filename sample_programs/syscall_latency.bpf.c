// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: two programs that share state. How long do system calls of one process take? A histogram in powers of two
 * of nanoseconds. */
#include "lesson.h"

#define BUCKETS 32

const volatile u32 watched_tgid = 0; /* 0: every process */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, u32);
	__type(value, u64);
} histogram SEC(".maps");

static __always_inline u32 log2_of(u64 value)
{
	u32 result = 0;
#pragma unroll
	for (u32 step = 16; step; step /= 2)
		if (value >> step) {
			value >>= step;
			result += step;
		}
	return result;
}

static __always_inline int is_watched(u64 thread)
{
	return !watched_tgid || thread >> 32 == watched_tgid;
}

SEC("raw_tp/sys_enter")
int on_enter(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	if (is_watched(thread))
		bpf_map_update_elem(&started, &thread, &now, BPF_ANY);
	return 0;
}

SEC("raw_tp/sys_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	u64 *start = bpf_map_lookup_elem(&started, &thread);
	if (!start)
		return 0;
	u64 took = bpf_ktime_get_ns() - *start;
	bpf_map_delete_elem(&started, &thread);
	COUNT(histogram, took >> BUCKETS ? BUCKETS - 1 : log2_of(took));
	return 0;
}

LICENSE("Dual MIT/GPL");
