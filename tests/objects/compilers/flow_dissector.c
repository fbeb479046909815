/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Issue 12, line 16: verdicts of flow dissectors. Linux 5.10 gives test runs a boolean: 1 for BPF_OK, 0 for BPF_DROP; later
 * kernels the verdict itself: BPF_OK is 0, BPF_DROP 2. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("flow_dissector") int accepts(struct __sk_buff *skb)
{
	skb->flow_keys->thoff = 34;
	return BPF_OK;
}

SEC("flow_dissector") int drops(struct __sk_buff *skb)
{
	return BPF_DROP;
}

/* BPF_FLOW_DISSECTOR_CONTINUE, Linux 6.1 */
SEC("flow_dissector") int leaves_it(struct __sk_buff *skb)
{
	return 129;
}

char _license[] SEC("license") = "GPL";
