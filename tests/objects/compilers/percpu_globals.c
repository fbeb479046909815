/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 14: SEC(".percpu") variables are an array per CPU (libbpf of Linux 7.3): every CPU counts by itself. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int runs SEC(".percpu") = 10;
int others SEC(".percpu");
int shared;

SEC("xdp") int count(struct xdp_md *ctx)
{
	shared++;
	others += 2;
	return ++runs;
}

char _license[] SEC("license") = "GPL";
