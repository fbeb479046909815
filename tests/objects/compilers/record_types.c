/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 10: `struct event` is only in DWARF: nothing that BTF describes reaches it. `struct kept` is in BTF,
 * since a variable points to it. Built with and without DWARF (llvm-strip -g). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum verdict { PASSED = 1, DROPPED = 7 };

struct point {
	__u16 x;
	__s16 y;
};

struct event {
	__u32 pid;
	enum verdict verdict;
	char comm[8];
	struct point at[2];
	__u64 flags : 3;
	__u64 rest : 61;
};

struct kept {
	__u32 number;
};

struct kept *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(struct point));
	__uint(value_size, sizeof(struct event));
} last SEC(".maps");

SEC("xdp") int write(struct xdp_md *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	struct point key = {.x = 1, .y = -2};

	if (!event)
		return XDP_ABORTED;
	event->pid = 4242;
	event->verdict = DROPPED;
	__builtin_memcpy(event->comm, "curl\0\0\0", 8);
	event->at[0] = (struct point){.x = 3, .y = -4};
	event->at[1] = (struct point){.x = 5, .y = -6};
	event->flags = 5;
	event->rest = 9;
	bpf_map_update_elem(&last, &key, event, BPF_ANY);
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
