/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 14: where variables lie in an arena of four pages at 1 << 44. libbpf 1.7 and later puts them at its end where
 * the kernel takes such offsets: `where` returns 12292 (3 * 4096 + 4), on older kernels 4. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, 33);
	__uint(map_flags, 1U << 10);
	__uint(max_entries, 4);
	enum { place = 1ULL << 44 } map_extra; /* __ulong of newer headers */
} arena SEC(".maps");

int first SEC(".addr_space.1") = 11;
int second SEC(".addr_space.1") = 22;

SEC("syscall") int where(void *ctx)
{
	long at;

	asm volatile("r1 = %[map] ll;" ::[map] "i"(&arena) : "r1");
	asm volatile("%[at] = %[variable] ll;" : [at] "=r"(at) : [variable] "i"(&second));
	return at - (1ULL << 44);
}

char _license[] SEC("license") = "GPL";
