// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: one object, programs of several types. The same question - is it UDP? - to a socket and to a cgroup. */
#include "lesson.h"
#include "packet.h"

/* A socket filter sees the packet from its link header on and says how many bytes the socket gets. */
SEC("socket")
int only_udp(struct __sk_buff *skb)
{
	u8 protocol = 0;
	bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, protocol), &protocol, sizeof(protocol));
	return protocol == IPPROTO_UDP ? skb->len : 0;
}

/* A cgroup filter sees it from the network header on and says yes (1) or no (0). */
SEC("cgroup_skb/egress")
int no_udp(struct __sk_buff *skb)
{
	struct iphdr ip;
	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return 0;
	return ip.protocol != IPPROTO_UDP;
}

LICENSE("Dual MIT/GPL");
