// SPDX-License-Identifier: Apache-2.0
/* The libbpf side of the comparisons: what libbpf makes of objects, as one JSON object per line.
 *
 *   libbpf_load verdicts FILE [INDEX:TYPE:ATTACH]...
 *                                         each program alone, or all at once where none is refused: verdict, errno,
 *                                         instructions that the verifier walked; the numbers tell libbpf a
 *                                         program type where its section does not
 *   libbpf_load times < requests          whole loads; a request is "FILE" and the indexes of the programs to load,
 *                                         separated by tabs
 *   libbpf_load btf ROUNDS                the kernel's own types, read and parsed
 *   libbpf_load version                   of libbpf, as plain text
 *
 * Times are nanoseconds; "processor" is the time that this process had a processor for the step before it. Pin paths are cleared: a comparison leaves nothing behind.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define LOG_SIZE (16 << 20)
#define MAX_LINE (64 << 10)
#define STATS 4
#define DEFAULT_ENTRIES 4096
#define DEFAULT_STACK (127 * 8)

static char kernel_log[LOG_SIZE];
static char warnings[8192];

static int keep_warnings(enum libbpf_print_level level, const char *format, va_list args)
{
	size_t used = strlen(warnings);

	if (level == LIBBPF_WARN && used + 1 < sizeof(warnings))
		vsnprintf(warnings + used, sizeof(warnings) - used, format, args);
	return 0;
}

static long read_clock(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	return at.tv_sec * 1000000000L + at.tv_nsec;
}

static long now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static long processor(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_text(const char *name, const char *text)
{
	printf("\"%s\":\"", name);
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

/* The end of a text: what a log says last matters most. */
static const char *tail(const char *text, size_t length)
{
	size_t all = strlen(text);

	return all > length ? text + all - length : text;
}

static long walked_in_log(void)
{
	const char *found = NULL, *next = kernel_log;

	while ((next = strstr(next, "processed ")))
		found = next++;
	return found ? atol(found + strlen("processed ")) : -1;
}

/* BPF_MAP_TYPE_CGRP_STORAGE, which the headers of Linux 6.1 do not name yet. */
#define CGRP_STORAGE 32

/* What objects leave open for their user space to set; ours.py sets the same. */
static void complete(struct bpf_map *map)
{
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_INODE_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
	case BPF_MAP_TYPE_STRUCT_OPS:
	case CGRP_STORAGE:
		return;
	default:
		break;
	}
	if (!bpf_map__max_entries(map))
		bpf_map__set_max_entries(map, DEFAULT_ENTRIES);
	if (bpf_map__type(map) == BPF_MAP_TYPE_STACK_TRACE && !bpf_map__value_size(map))
		bpf_map__set_value_size(map, DEFAULT_STACK);
}

static struct bpf_object *open_object(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_map *map;

	if (!object)
		return NULL;
	bpf_object__for_each_map(map, object) {
		complete(map);
		if (bpf_map__pin_path(map))
			bpf_map__set_pin_path(map, NULL);
	}
	return object;
}

/* INDEX:TYPE:ATTACH for this program, if there is one. */
static void tell_type(struct bpf_program *program, int index, char **hints)
{
	int which, type, attach;

	for (; *hints; hints++) {
		if (sscanf(*hints, "%d:%d:%d", &which, &type, &attach) != 3 || which != index)
			continue;
		bpf_program__set_type(program, type);
		bpf_program__set_expected_attach_type(program, attach);
	}
}

/* Program `wanted` with a log; struct_ops maps, which bring programs along, only for one of theirs. */
static struct bpf_program *choose(struct bpf_object *object, int wanted, char **hints)
{
	struct bpf_program *program, *chosen = NULL;
	struct bpf_map *map;
	int index = 0;

	bpf_object__for_each_program(program, object) {
		bool this_one = index == wanted;

		tell_type(program, index++, hints);
		bpf_program__set_autoload(program, this_one);
		if (!this_one)
			continue;
		bpf_program__set_log_level(program, STATS);
		bpf_program__set_log_buf(program, kernel_log, LOG_SIZE);
		chosen = program;
	}
	bpf_object__for_each_map(map, object)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, chosen && bpf_program__type(chosen) == BPF_PROG_TYPE_STRUCT_OPS);
	return chosen;
}

/* Program arrays are filled when all programs are loaded: one that misses a program says nothing about ours. */
static bool only_slots_are_missing(void)
{
	return strstr(warnings, "failed to initialize slot");
}

static long verified_insns(struct bpf_program *program)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) ? -1 : (long)info.verified_insns;
}

static void print_head(struct bpf_program *program, int index)
{
	printf("%s{", index ? "," : "");
	print_text("name", bpf_program__name(program));
	putchar(',');
	print_text("section", bpf_program__section_name(program));
	printf(",\"type\":%d,", bpf_program__type(program));
}

/* All programs in one load: where none is refused, none hides another. An emulated guest takes seconds to read the
 * kernel's types, once per load. False, and nothing is printed, when one is refused or the walks cannot be asked for.
 */
static bool print_all(const char *path, char **hints)
{
	struct bpf_object *object = open_object(path);
	struct bpf_program *program;
	bool known = true;
	int index = 0;

	if (!object)
		return false;
	bpf_object__for_each_program(program, object) {
		tell_type(program, index++, hints);
		bpf_program__set_autoload(program, true);
	}
	known = index > 1 && !bpf_object__load(object);
	if (known)
		bpf_object__for_each_program(program, object)
			known = known && verified_insns(program) > 0;
	index = 0;
	if (known) {
		bpf_object__for_each_program(program, object) {
			print_head(program, index++);
			printf("\"loaded\":true,\"errno\":0,\"walked\":%ld,\"log\":\"\",\"warnings\":\"\"}",
			       verified_insns(program));
		}
	}
	bpf_object__close(object);
	return known;
}

static bool print_verdict(const char *path, int index, char **hints)
{
	struct bpf_object *object;
	struct bpf_program *program;
	bool loaded, has_info;
	int error;

	warnings[0] = kernel_log[0] = 0;
	object = open_object(path);
	program = object ? choose(object, index, hints) : NULL;
	if (!program) {
		bpf_object__close(object);
		return false;
	}
	error = bpf_object__load(object);
	has_info = !error;
	loaded = has_info || only_slots_are_missing();
	print_head(program, index);
	printf("\"loaded\":%s,\"errno\":%d,\"walked\":%ld,",
	       loaded ? "true" : "false", loaded ? 0 : -error, has_info ? verified_insns(program) : walked_in_log());
	print_text("log", tail(kernel_log, 600));
	putchar(',');
	print_text("warnings", tail(warnings, 600));
	putchar('}');
	bpf_object__close(object);
	return true;
}

static int print_verdicts(const char *path, char **hints)
{
	struct bpf_object *object;
	int error, count = 0;

	warnings[0] = 0;
	object = open_object(path);
	error = object ? 0 : errno;
	bpf_object__close(object);
	putchar('{');
	print_text("file", path);
	printf(",\"open_errno\":%d,", error);
	print_text("warnings", tail(warnings, 600));
	printf(",\"programs\":[");
	if (!error && !print_all(path, hints))
		while (print_verdict(path, count, hints))
			count++;
	puts("]}");
	return 0;
}

static void choose_listed(struct bpf_object *object, const bool *wanted, int count)
{
	struct bpf_program *program;
	struct bpf_map *map;
	int index = 0;

	bpf_object__for_each_program(program, object) {
		bpf_program__set_autoload(program, index < count && wanted[index]);
		index++;
	}
	bpf_object__for_each_map(map, object)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, false);
}

static void print_times(const char *path, const bool *wanted, int count)
{
	long began = now(), had = processor(), opened, took;
	struct bpf_object *object = open_object(path);
	int error = object ? 0 : -errno;

	opened = now();
	took = processor() - had;
	if (object) {
		choose_listed(object, wanted, count);
		error = bpf_object__load(object);
	}
	printf("{\"open\":%ld,\"processor\":%ld,\"load\":%ld,\"errno\":%d}\n", opened - began, took, now() - opened,
	       -error);
	fflush(stdout);
	bpf_object__close(object);
}

static int serve_times(void)
{
	static char line[MAX_LINE];
	static bool wanted[MAX_LINE];

	while (fgets(line, sizeof(line), stdin)) {
		char *path = strtok(line, "\t\n"), *number;
		int count = 0;

		memset(wanted, 0, sizeof(wanted));
		while ((number = strtok(NULL, "\t\n"))) {
			int index = atoi(number);

			if (index >= 0 && index < MAX_LINE) {
				wanted[index] = true;
				count = index >= count ? index + 1 : count;
			}
		}
		if (path)
			print_times(path, wanted, count);
	}
	return 0;
}

static int print_btf_times(int rounds)
{
	printf("{\"rounds\":[");
	for (int round = 0; round < rounds; round++) {
		long began = now(), had = processor();
		struct btf *btf = btf__load_vmlinux_btf();
		__u32 types = btf ? btf__type_cnt(btf) : 0;

		printf("%s{\"load\":%ld,\"processor\":%ld,\"types\":%u}", round ? "," : "", now() - began,
		       processor() - had, types);
		btf__free(btf);
	}
	puts("]}");
	return 0;
}

int main(int argc, char **argv)
{
	libbpf_set_print(keep_warnings);
	if (argc > 2 && !strcmp(argv[1], "verdicts"))
		return print_verdicts(argv[2], argv + 3);
	if (argc == 2 && !strcmp(argv[1], "times"))
		return serve_times();
	if (argc == 3 && !strcmp(argv[1], "btf"))
		return print_btf_times(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "version")) {
		puts(libbpf_version_string());
		return 0;
	}
	fprintf(stderr, "usage: libbpf_load verdicts FILE [INDEX:TYPE:ATTACH]... | times | btf ROUNDS | version\n");
	return 2;
}
