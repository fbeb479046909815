/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 11: addresses and ports in every place where a type can stand. `write` sets what is below for
 * 192.0.2.1, 2001:db8::1, 02:00:00:00:00:01, port 443 and sequence number 0x01020304. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct flow {
	__be32 saddr;
	__be16 sport;
	__u8 mac[ETH_ALEN];
	struct in_addr peer;
	struct in6_addr peer6;
	__be32 seq;
};

struct event {
	struct flow flow;
	__u32 plain;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __be32);
	__type(value, struct flow);
} by_address SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct in6_addr);
	__type(value, __be16);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __be32);
} by_plain_number SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct event *unused __attribute__((unused));

__be32 wanted = bpf_htonl(0xc0000201);
__be16 port = bpf_htons(443);
struct in_addr gateway;
struct in6_addr gateway6;
unsigned char mac[ETH_ALEN] = {2, 0, 0, 0, 0, 1};

SEC("xdp") int write(struct xdp_md *ctx)
{
	struct in6_addr address6 = {.in6_u.u6_addr8 = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	__be32 address = bpf_htonl(0xc0000201);
	__u32 number = address;

	if (!event)
		return XDP_ABORTED;
	event->flow.saddr = event->flow.peer.s_addr = address;
	event->flow.sport = bpf_htons(443);
	__builtin_memcpy(event->flow.mac, mac, sizeof(mac));
	event->flow.peer6 = address6;
	event->flow.seq = bpf_htonl(0x01020304);
	event->plain = 0x01020304;
	bpf_map_update_elem(&by_address, &address, &event->flow, BPF_ANY);
	bpf_map_update_elem(&ports, &address6, &event->flow.sport, BPF_ANY);
	bpf_map_update_elem(&by_plain_number, &number, &address, BPF_ANY);
	gateway.s_addr = address;
	gateway6 = address6;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

/* the ports and addresses of a socket lookup are __be16 and __be32 in the kernel's struct too */
SEC("cgroup/connect4") int connects(struct bpf_sock_addr *ctx)
{
	return ctx->user_ip4 == wanted && ctx->user_port == port;
}

char _license[] SEC("license") = "GPL";
