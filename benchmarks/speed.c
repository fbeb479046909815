// SPDX-License-Identifier: Apache-2.0
/* The libbpf side of the speed comparison: the same work as speed.py, one JSON object on stdout.
 *
 *   speed runs N       BPF_PROG_TEST_RUN of an XDP program on 64 bytes, the packet read back, N times
 *   speed hash N       a hash of N entries (u32 -> 8 bytes) read with batches
 *   speed ring N       N records of 64 bytes: looked at by a callback; copied by one; produced and copied
 *
 * Times are nanoseconds of processor time, the best of ROUNDS: other jobs do not lengthen them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define ROUNDS 5
#define PACKET 64
#define ROOM (64 << 10)
#define RECORD 64
#define RING (256u << 20)
#define PER_RUN 1000

struct insn_list {
	struct bpf_insn insns[64];
	int count;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void add(struct insn_list *list, uint8_t code, int dst, int src, int off, int imm)
{
	list->insns[list->count++] = (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
}

static int load(const struct insn_list *list)
{
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "speed", "GPL", list->insns, list->count, NULL);

	if (fd < 0)
		fail("prog_load");
	return fd;
}

static void run(int prog, char *packet, char *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = PACKET, .data_out = out,
		    .data_size_out = ROOM, .repeat = 1);

	if (bpf_prog_test_run_opts(prog, &opts))
		fail("test_run");
}

static void runs(long count)
{
	struct insn_list list = {};
	char packet[PACKET] = {};
	char *out = malloc(ROOM);
	int64_t best = INT64_MAX;

	add(&list, 0xb7, 0, 0, 0, 2);
	add(&list, 0x95, 0, 0, 0, 0);
	int prog = load(&list);
	for (int round = 0; round < ROUNDS; round++) {
		int64_t began = now();

		for (long i = 0; i < count; i++)
			run(prog, packet, out);
		if (now() - began < best)
			best = now() - began;
	}
	printf("{\"run\": %lld}\n", (long long)best);
}

static void hash(uint32_t count)
{
	int map = bpf_map_create(BPF_MAP_TYPE_HASH, "speed", 4, 8, count, NULL);
	uint32_t *keys = calloc(count, 4);
	uint64_t *values = calloc(count, 8);
	int64_t best = INT64_MAX;

	if (map < 0)
		fail("map_create");
	for (uint32_t i = 0; i < count; i++) {
		keys[i] = i;
		values[i] = i;
	}
	uint32_t done = count;
	if (bpf_map_update_batch(map, keys, values, &done, NULL))
		fail("update_batch");
	for (int round = 0; round < ROUNDS; round++) {
		int64_t began = now();
		uint32_t cursor, *previous = NULL, total = 0;

		for (;;) {
			uint32_t chunk = count - total ? count - total : 1;
			int error = bpf_map_lookup_batch(map, previous, &cursor, keys + total, values + total, &chunk, NULL);

			total += chunk;
			previous = &cursor;
			if (error || total >= count)
				break;
		}
		if (total != count)
			fail("lookup_batch");
		if (now() - began < best)
			best = now() - began;
	}
	printf("{\"batch\": %lld}\n", (long long)best);
}

static int sum(void *context, void *data, size_t size)
{
	*(uint64_t *)context += *(uint64_t *)data + size;
	return 0;
}

struct kept {
	char *next;
};

static int keep(void *context, void *data, size_t size)
{
	struct kept *kept = context;

	memcpy(kept->next, data, size);
	kept->next += size;
	return 0;
}

/* PER_RUN records of RECORD bytes per run, from zeroes on the stack. */
static int emitter(int map)
{
	struct insn_list list = {};

	for (int at = 8; at <= RECORD; at += 8)
		add(&list, 0x7a, 10, 0, -at, 0);
	add(&list, 0xb7, 6, 0, 0, PER_RUN);
	int top = list.count;
	add(&list, 0x18, 1, 1, 0, map);
	add(&list, 0, 0, 0, 0, 0);
	add(&list, 0xbf, 2, 10, 0, 0);
	add(&list, 0x07, 2, 0, 0, -RECORD);
	add(&list, 0xb7, 3, 0, 0, RECORD);
	add(&list, 0xb7, 4, 0, 0, 1); /* BPF_RB_NO_WAKEUP */
	add(&list, 0x85, 0, 0, 0, 130);
	add(&list, 0x17, 6, 0, 0, 1);
	add(&list, 0x55, 6, 0, top - list.count - 1, 0);
	add(&list, 0xb7, 0, 0, 0, 2);
	add(&list, 0x95, 0, 0, 0, 0);
	return load(&list);
}

static void ring(long count)
{
	int map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "speed", 0, 0, RING, NULL);
	int64_t best[2] = { INT64_MAX, INT64_MAX }, both = INT64_MAX;
	char packet[PACKET] = {}, *out = malloc(ROOM), *copies = malloc(count * RECORD);
	struct kept kept;
	uint64_t total = 0;

	if (map < 0)
		fail("ringbuf");
	struct ring_buffer *readers[2] = { ring_buffer__new(map, sum, &total, NULL), ring_buffer__new(map, keep, &kept, NULL) };
	if (!readers[0] || !readers[1])
		fail("ring_buffer__new");
	int prog = emitter(map);
	for (int round = 0; round < 2 * ROUNDS; round++) {
		int64_t began = now();

		for (long i = 0; i < count / PER_RUN; i++)
			run(prog, packet, out);
		int64_t middle = now();
		kept.next = copies;
		if (ring_buffer__consume(readers[round % 2]) != count / PER_RUN * PER_RUN)
			fail("consume");
		int64_t end = now();
		if (end - middle < best[round % 2])
			best[round % 2] = end - middle;
		if (round % 2 && end - began < both)
			both = end - began;
	}
	printf("{\"look\": %lld, \"copy\": %lld, \"both\": %lld}\n", (long long)best[0], (long long)best[1], (long long)both);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "runs"))
		runs(atol(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "hash"))
		hash(atol(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "ring"))
		ring(atol(argv[2]));
	else
		return 2;
	return 0;
}
