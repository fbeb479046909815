/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 1: `retain` makes LLVM write a section of its own for each of these: three called "tc", two ".data",
 * two ".rodata". Every program returns the sum that its name says. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define RETAIN __attribute__((retain, used))

int first = 1;
SEC(".data") RETAIN int second = 2;
const volatile int limit = 100;
SEC(".rodata") RETAIN const volatile int lowest = 200;

SEC("tc") RETAIN int gives_11(struct __sk_buff *ctx)
{
	return 10 + first;
}

SEC("tc") RETAIN int gives_22(struct __sk_buff *ctx)
{
	return 20 + second;
}

SEC("tc") RETAIN int gives_303(struct __sk_buff *ctx)
{
	return limit + lowest + first + second;
}

char _license[] SEC("license") = "GPL";
