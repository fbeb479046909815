// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Runs each time a perf event fires: counts[0]. */
#include "counted.h"

SEC("perf_event")
int sampled(void *ctx)
{
	count(0);
	return 0;
}
