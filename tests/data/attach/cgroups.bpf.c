// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One program for each hook of a control group. Each counts in a variable of its own; "verdict" is what those say that
 * may forbid something. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int verdict = 1;

#define HOOK(section, name, type, says)             \
	__u64 name##_seen = 0;                      \
	SEC(section)                                \
	int name(type *ctx)                         \
	{                                           \
		__sync_fetch_and_add(&name##_seen, 1); \
		return says;                        \
	}

HOOK("cgroup_skb/ingress", ingress, struct __sk_buff, verdict)
HOOK("cgroup_skb/egress", egress, struct __sk_buff, verdict)
HOOK("cgroup/skb", either, struct __sk_buff, verdict)
HOOK("cgroup/sock_create", sock_create, struct bpf_sock, verdict)
HOOK("cgroup/sock_release", sock_release, struct bpf_sock, 1)
HOOK("cgroup/post_bind4", post_bind4, struct bpf_sock, verdict)
HOOK("cgroup/post_bind6", post_bind6, struct bpf_sock, verdict)
HOOK("cgroup/bind4", bind4, struct bpf_sock_addr, verdict)
HOOK("cgroup/bind6", bind6, struct bpf_sock_addr, verdict)
HOOK("cgroup/connect4", connect4, struct bpf_sock_addr, verdict)
HOOK("cgroup/connect6", connect6, struct bpf_sock_addr, verdict)
HOOK("cgroup/connect_unix", connect_unix, struct bpf_sock_addr, verdict)
HOOK("cgroup/sendmsg4", sendmsg4, struct bpf_sock_addr, verdict)
HOOK("cgroup/sendmsg6", sendmsg6, struct bpf_sock_addr, verdict)
HOOK("cgroup/sendmsg_unix", sendmsg_unix, struct bpf_sock_addr, verdict)
HOOK("cgroup/recvmsg4", recvmsg4, struct bpf_sock_addr, 1)
HOOK("cgroup/recvmsg6", recvmsg6, struct bpf_sock_addr, 1)
HOOK("cgroup/recvmsg_unix", recvmsg_unix, struct bpf_sock_addr, 1)
HOOK("cgroup/getpeername4", getpeername4, struct bpf_sock_addr, 1)
HOOK("cgroup/getpeername6", getpeername6, struct bpf_sock_addr, 1)
HOOK("cgroup/getpeername_unix", getpeername_unix, struct bpf_sock_addr, 1)
HOOK("cgroup/getsockname4", getsockname4, struct bpf_sock_addr, 1)
HOOK("cgroup/getsockname6", getsockname6, struct bpf_sock_addr, 1)
HOOK("cgroup/getsockname_unix", getsockname_unix, struct bpf_sock_addr, 1)
HOOK("sockops", sock_ops, struct bpf_sock_ops, 1)
HOOK("cgroup/getsockopt", getsockopt, struct bpf_sockopt, verdict)
HOOK("cgroup/setsockopt", setsockopt, struct bpf_sockopt, verdict)
HOOK("cgroup/sysctl", sysctl, struct bpf_sysctl, verdict)
HOOK("cgroup/dev", device, struct bpf_cgroup_dev_ctx, verdict)

/* Which of these ran, oldest first: one digit each. */
__u64 trail = 0;

#define STEP(digit)                            \
	SEC("cgroup_skb/egress")               \
	int step##digit(struct __sk_buff *ctx) \
	{                                      \
		trail = trail * 10 + digit;    \
		return 1;                      \
	}
STEP(1)
STEP(2)
STEP(3)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
