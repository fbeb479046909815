/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Records from user space (Linux 6.1): added up by one test run. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct sample {
	__u32 kind;
	__u32 value;
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} samples SEC(".maps");

__u64 total;
__u32 kinds[4];
struct sample last; /* names the type: the BTF of an object has what its globals and functions mention */

static long take(struct bpf_dynptr *record, void *unused)
{
	struct sample sample;

	if (bpf_dynptr_read(&sample, sizeof(sample), record, 0, 0))
		return 1;
	last = sample;
	total += sample.value;
	kinds[sample.kind & 3]++;
	return 0;
}

SEC("syscall")
int drain(void *unused)
{
	return bpf_user_ringbuf_drain(&samples, take, (void *)0, 0);
}

char LICENSE[] SEC("license") = "GPL";
