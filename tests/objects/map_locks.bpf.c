/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Globals beside a lock, which the kernel shares with no user space, and per-CPU values of 4 bytes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PER_CPU(name, kind)                                                                                            \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, 4);                                                                                \
		__type(key, __u32);                                                                                    \
		__type(value, __u32);                                                                                  \
	} name SEC(".maps")

PER_CPU(per_cpu_array, BPF_MAP_TYPE_PERCPU_ARRAY);
PER_CPU(per_cpu_hash, BPF_MAP_TYPE_PERCPU_HASH);
PER_CPU(plain_hash, BPF_MAP_TYPE_HASH);

struct bpf_spin_lock lock SEC(".data.locked");
__u32 inside SEC(".data.locked") = 3;
__u32 step SEC(".data.locked") = 1;
__u32 outside = 7;

SEC("tc")
int count(struct __sk_buff *ctx)
{
	struct bpf_spin_lock *held = &lock;

	/* Up to Linux 6.1 two constants with one address are two locks. */
	asm volatile("" : "+r"(held));
	bpf_spin_lock(held);
	inside += step;
	bpf_spin_unlock(held);
	return outside;
}

char LICENSE[] SEC("license") = "GPL";
