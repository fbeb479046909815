/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What vmlinux does not have and module nf_conntrack does: functions to call, to trace, and a type to look up. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct nf_conn {
	unsigned int mark;
};
struct bpf_ct_opts {
	int netns_id;
	int error;
	unsigned char l4proto;
	unsigned char dir;
	unsigned char reserved[2];
};
struct nf_conntrack_net {
	unsigned int users4;
} __attribute__((preserve_access_index));

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *xdp_ctx, struct bpf_sock_tuple *bpf_tuple, __u32 len_tuple,
					 struct bpf_ct_opts *opts, __u32 len_opts) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;

SEC("xdp") int lookup(struct xdp_md *ctx)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_ct_opts opts = { .netns_id = -1, .l4proto = 17 };
	struct nf_conn *ct;

	tuple.ipv4.saddr = 1;
	ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (ct) {
		bpf_ct_release(ct);
		return 1;
	}
	return -opts.error;
}

SEC("xdp") int size_of_type(struct xdp_md *ctx)
{
	return bpf_core_type_size(struct nf_conntrack_net);
}

SEC("?fentry/nf_conntrack:nf_conntrack_in") int named_module(void *ctx)
{
	return 0;
}

SEC("?fentry/nf_conntrack_in") int any_module(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
