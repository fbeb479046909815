/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 20: variables that hold addresses, which no loader can fill in: a program that uses one is refused by name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
static int one = 1, two = 2;
int *table[2] = {&one, &two};
static const char *const names[] = {"alpha", "beta"};
int plain = 3;
SEC("xdp") int reads_pointer(struct xdp_md *ctx)
{
	int *p = table[ctx->rx_queue_index & 1];
	return p ? *p : 0;
}
SEC("xdp") int prints(struct xdp_md *ctx)
{
	bpf_printk("%s", names[ctx->rx_queue_index & 1]);
	return plain;
}
SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return plain + one + two;
}
char _license[] SEC("license") = "GPL";
