/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 10: an object that holds nothing but types: `types="types_only.bpf.o"`. */
typedef unsigned int u32;
typedef unsigned short u16;

struct event {
	u32 pid;
	enum { PASSED = 1, DROPPED = 7 } verdict;
	char comm[8];
	struct {
		u16 x;
		short y;
	} at[2];
	unsigned long flags : 3;
	unsigned long rest : 61;
};

struct event *event __attribute__((unused));
