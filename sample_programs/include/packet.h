/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Walking through a packet, one checked header after the other. */
#ifndef PACKET_H
#define PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

struct cursor {
	void *at;
	void *end;
};

#define CURSOR(ctx) {.at = (void *)(long)(ctx)->data, .end = (void *)(long)(ctx)->data_end}

/* The header at the cursor, which moves past it; NULL when the packet ends before the header does. */
#define NEXT_HEADER(cursor, type)                                                                                      \
	({                                                                                                             \
		type *header = (cursor)->at;                                                                           \
		(cursor)->at = header + 1;                                                                             \
		(void *)(header + 1) <= (cursor)->end ? header : NULL;                                                 \
	})

#endif
