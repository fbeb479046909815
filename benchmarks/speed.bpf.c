// SPDX-License-Identifier: Apache-2.0
/* What speed.py runs, reads and drains. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define PER_RUN 1000

struct key {
	__u32 address;
};

struct traffic {
	__u32 packets;
	__u32 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, struct key);
	__type(value, struct traffic);
} structs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 << 20);
} events SEC(".maps");

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int emit(struct xdp_md *ctx)
{
	__u64 record[8] = {};

	for (int i = 0; i < PER_RUN; i++)
		bpf_ringbuf_output(&events, record, sizeof(record), BPF_RB_NO_WAKEUP);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
