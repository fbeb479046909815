/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What every sample needs: fixed-width types, the SEC() and map macros, and a licence the kernel takes as GPL. */
#ifndef LESSON_H
#define LESSON_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define LICENSE(text) char _license[] SEC("license") = text

/* A cell of a per-CPU or an array map, counted up. */
#define COUNT(map, index)                                                                                              \
	({                                                                                                             \
		u32 count_key = (index);                                                                               \
		u64 *count_cell = bpf_map_lookup_elem(&(map), &count_key);                                             \
		if (count_cell)                                                                                        \
			(*count_cell)++;                                                                               \
	})

#endif
