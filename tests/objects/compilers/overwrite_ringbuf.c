/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 14: a ring buffer that overwrites what nobody read (flag 1 << 19). `write` puts 504 bytes (with the header 512;
 * eight fit 4096), the first of them a number that counts up. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define OVERWRITE (1U << 19)

struct event {
	__u64 number;
	__u8 rest[496];
};

struct event *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(map_flags, OVERWRITE);
	__uint(max_entries, 4096);
} events SEC(".maps");

__u64 number, refused;

SEC("xdp") int write(struct xdp_md *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		refused++;
		return XDP_ABORTED;
	}
	event->number = number++;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
