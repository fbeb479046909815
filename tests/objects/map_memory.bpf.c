/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Maps of data: shared memory, per-CPU values, bloom filters, queues, prefixes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct cell {
	__u32 count;
	__u8 mark;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cell);
} shared SEC(".maps");

#define PER_CPU(name, kind)                                                                                            \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, 4);                                                                                \
		__type(key, __u32);                                                                                    \
		__type(value, struct cell);                                                                            \
	} name SEC(".maps")

PER_CPU(per_cpu_array, BPF_MAP_TYPE_PERCPU_ARRAY);
PER_CPU(per_cpu_hash, BPF_MAP_TYPE_PERCPU_HASH);
PER_CPU(per_cpu_lru, BPF_MAP_TYPE_LRU_PERCPU_HASH);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 20000);
	__type(key, struct cell);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u32);
} queue SEC(".maps");

__u32 first = 1;
__u32 second = 2;
const volatile __u32 step = 1;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 1;
	struct cell *cell = bpf_map_lookup_elem(&shared, &key);

	if (cell)
		cell->count += step;
	cell = bpf_map_lookup_elem(&per_cpu_array, &key);
	if (cell)
		cell->count += step;
	second += first;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
