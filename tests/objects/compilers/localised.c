/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 20: for `llvm-objcopy --localize-symbol=helper` and `--rename-section`: the symbol becomes local while BTF says
 * global. libbpf goes by BTF, so the function is verified by itself: the caller knows nothing of what it returns. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int table[16];

__attribute__((noinline)) int helper(int x)
{
	int i, sum = 0;

	for (i = 0; i < 16; i++)
		sum += table[i] + x;
	return sum & 15;
}

SEC("tc") int calls(struct __sk_buff *ctx)
{
	return helper(ctx->mark) + helper(ctx->mark + 1) + helper(ctx->mark + 2);
}

char _license[] SEC("license") = "GPL";
