// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Lesson: one object, programs of several types. The same question - is it UDP? - to a socket and to a cgroup. */
#include "lesson.h"
#include "packet.h"

/* A socket filter says how many bytes the socket gets. Where its packet starts depends on the socket, so it counts
 * from the network header. */
SEC("socket")
int only_udp(struct __sk_buff *skb)
{
	struct iphdr ip;
	if (bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET))
		return 0;
	return ip.protocol == IPPROTO_UDP ? skb->len : 0;
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
