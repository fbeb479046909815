/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Values that hang on control groups (Linux 6.2). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct note {
	__u32 seen;
	char text[12];
};

struct {
	__uint(type, 32 /* BPF_MAP_TYPE_CGRP_STORAGE */);
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
