/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Memory that programs and user space share. Variables in it have a section of this name where the compiler knows
 * address spaces; what such a program does with them is not the point here, only where they are. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ARENA 33
#define MMAPABLE (1U << 10)

struct {
	__uint(type, ARENA);
	__uint(map_flags, MMAPABLE);
	__uint(max_entries, 4);
} arena SEC(".maps");

int first SEC(".addr_space.1") = 11;
int second SEC(".addr_space.1") = 22;

SEC("syscall") int distance(void *ctx)
{
	long at;

	asm volatile("r1 = %[map] ll;" ::[map] "i"(&arena) : "r1");
	asm volatile("%[at] = %[variable] ll;" : [at] "=r"(at) : [variable] "i"(&second));
	return at & 0xfff;
}

char LICENSE[] SEC("license") = "GPL";
