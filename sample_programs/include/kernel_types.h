/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The few kernel types the CO-RE samples read. Only names matter: the loader finds the real offsets of these members
 * in the types of the running kernel, so there is no generated header of several megabytes here. */
#ifndef KERNEL_TYPES_H
#define KERNEL_TYPES_H

#define RELOCATABLE __attribute__((preserve_access_index))

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	char comm[16];
} RELOCATABLE;

#endif
