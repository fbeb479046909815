// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Iterators: over all tasks, as text, and over the elements of a map that the link names, as records. */
#include "counted.h"

struct bpf_iter_meta {
	void *seq;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	void *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	static const char line[] = "%d %d\n";
	u64 numbers[2];

	if (!task)
		return 0;
	numbers[0] = task->tgid;
	numbers[1] = task->pid;
	bpf_seq_printf(ctx->meta->seq, line, sizeof(line), numbers, sizeof(numbers));
	return 0;
}

SEC("iter/bpf_map_elem")
int each_element(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;

	if (!key || !value)
		return 0;
	bpf_seq_write(ctx->meta->seq, value, sizeof(*value));
	return 0;
}

/* Writes a record of 8 bytes for each object, whatever it is: the section is changed when it is loaded. */
SEC("?iter/task")
int each_object(u64 *ctx)
{
	struct bpf_iter_meta *meta = (void *)ctx[0];
	u64 one = 1;

	if (ctx[1])
		bpf_seq_write(meta->seq, &one, sizeof(one));
	return 0;
}

struct bpf_iter__cgroup {
	struct bpf_iter_meta *meta;
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct kernfs_node {
	u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	struct kernfs_node *kn;
	int level;
} __attribute__((preserve_access_index));

SEC("?iter/cgroup")
int each_group(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *group = ctx->cgroup;
	u64 record[2];

	if (!group)
		return 0;
	record[0] = group->level;
	record[1] = group->kn->id;
	bpf_seq_write(ctx->meta->seq, record, sizeof(record));
	return 0;
}
