/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 4: clang 22 with -mcpu=v4 makes jump tables of these: section .jumptables, symbols BPF.JT.<n>.<n>, an
 * instruction `gotox`. One in a program, two in a subprogram. Loads on Linux 6.19 and later. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int extra;

#define CASE(n) case n: extra = extra * n + 7 - (extra >> n); break
#define CASES CASE(0); CASE(1); CASE(2); CASE(3); CASE(4); CASE(5); CASE(6); CASE(7); CASE(8); CASE(9); CASE(10); \
	CASE(11); CASE(12); CASE(13); CASE(14); default: extra = -1

__attribute__((noinline)) static int twice(int x, int y)
{
	switch (x & 31) {
	CASES;
	}
	extra++;
	switch (y & 31) {
	CASES;
	}
	return extra;
}

SEC("syscall") int choose(int *ctx)
{
	extra = ctx[1];
	switch (*ctx & 31) {
	CASES;
	}
	if (*ctx > 100)
		return twice(*ctx, *ctx + 1);
	return extra;
}

char _license[] SEC("license") = "GPL";
