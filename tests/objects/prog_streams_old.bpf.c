/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* As prog_streams, for kernels before Linux 7.0. */
#define BEFORE_7_0
#include "prog_streams.bpf.c"
