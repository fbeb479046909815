// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* kfuncs that ask a network device (Linux 6.3): without one nothing with them can be loaded, but for doubles. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, __u32 *rss_type) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

__u64 arrived = 0;
__u32 hashed = 0;

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	__u64 timestamp = 1;
	__u32 hash = 2, type = 3;

	bpf_rcu_read_lock();
	if (!bpf_xdp_metadata_rx_timestamp(ctx, &timestamp))
		arrived = timestamp;
	if (!bpf_xdp_metadata_rx_hash(ctx, &hash, &type))
		hashed = hash + type;
	bpf_rcu_read_unlock();
	return arrived ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
