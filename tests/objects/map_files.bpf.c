/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Values that hang on files (Linux 5.10, CONFIG_BPF_LSM). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct note {
	__u32 seen;
	char text[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct note);
} notes SEC(".maps");

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
