/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 19: targets that no kernel has, or that only some have, and hooks that are there but switched off. Each
 * has a reason of its own, and all but `nowhere_at_all` are features that this kernel lacks. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("fentry/no_such_function") int nowhere_at_all(void *ctx)
{
	return 0;
}

/* since Linux 6.6 */
SEC("fentry/folio_add_new_anon_rmap") int new_function(void *ctx)
{
	return 0;
}

SEC("tp_btf/no_such_tracepoint") int no_tracepoint(void *ctx)
{
	return 0;
}

/* since Linux 6.2 */
SEC("tp_btf/mm_khugepaged_collapse_file") int new_tracepoint(void *ctx)
{
	return 0;
}

SEC("lsm/no_such_hook") int no_hook(void *ctx)
{
	return 0;
}

/* in BTF everywhere, but the kernel switched it off for eBPF: a rejection ("points to disabled hook") */
SEC("lsm/getprocattr") int disabled_hook(void *ctx)
{
	return 0;
}

SEC("iter/no_such_iterator") int no_iterator(void *ctx)
{
	return 0;
}

SEC("xdp") int is_fine(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
