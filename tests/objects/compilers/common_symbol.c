/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 2: `-fcommon` leaves `counter` to the linker (SHN_COMMON): nothing places it. The program that uses it
 * cannot be read, the other one can. libbpf refuses the object. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int counter;

SEC("xdp") int uses_common(struct xdp_md *ctx)
{
	return ++counter;
}

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
