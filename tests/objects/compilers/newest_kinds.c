/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 14: what only Linux 7.3 has: fentry on several functions, an iterator over the children of a group. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 hits, groups;

SEC("fentry.multi") int on_several(void *ctx)
{
	hits++;
	return 0;
}

struct cgroup;

struct bpf_iter__cgroup {
	void *meta;
	struct cgroup *cgroup;
};

SEC("iter/cgroup") int each_group(struct bpf_iter__cgroup *ctx)
{
	if (ctx->cgroup)
		groups++;
	return 0;
}

char _license[] SEC("license") = "GPL";
