// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: events through a ring buffer. Each program the machine starts becomes one record. */
#include "lesson.h"

/* As the tracepoint's format file in tracefs lays it out. */
struct process_exec {
	u64 common;
	u32 filename_loc; /* low half: where the text starts, from the start of this record */
	s32 pid;
	s32 old_pid;
};

struct event {
	u32 pid;
	u32 uid;
	char comm[16];
	char filename[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps"); /* 0: sent, 1: lost because the ring was full */

/* The name clang keeps in the type information for a reader of the ring. */
const struct event *event_type __attribute__((unused));

SEC("tracepoint/sched/sched_process_exec")
int trace_exec(struct process_exec *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		COUNT(counts, 1);
		return 0;
	}
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = (u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_probe_read_kernel_str(event->filename, sizeof(event->filename), (void *)ctx + (ctx->filename_loc & 0xffff));
	bpf_ringbuf_submit(event, 0);
	COUNT(counts, 0);
	return 0;
}

LICENSE("Dual MIT/GPL");
