// Typed data through everything that carries it: a key and a value of a map, globals, a record, a context.
//
//   clang -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Werror -fdebug-compilation-dir=. -c roundtrip.c -o roundtrip.o
//   llvm-strip -g roundtrip.o

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, number) int(*name)[number]
#define __type(name, type) type *name

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

static void *(*lookup)(void *map, const void *key) = (void *)1;
static void *(*reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*submit)(void *record, u64 flags) = (void *)132;

enum color { RED, GREEN = 5, BLUE };
enum { DROP = 1, PASS };

struct key {
	u32 id;
	char name[8];
};

struct value {
	u64 count;
	struct point {
		short x, y;
	} points[2];
	union {
		u32 whole;
		u8 parts[4];
	};
	u32 low : 3;
	int high : 29;
	enum color color;
	char text[12];
	_Bool on;
	double weight;
};

struct record {
	u32 length;
	struct value value;
	char rest[];
};

struct {
	__uint(type, 1); /* HASH */
	__uint(max_entries, 8);
	__type(key, struct key);
	__type(value, struct value);
} table SEC(".maps");

struct {
	__uint(type, 27); /* RINGBUF */
	__uint(max_entries, 4096);
	__type(value, struct record);
} ring SEC(".maps");

struct value seen;
const volatile struct key wanted = { 1, "one" };

SEC("xdp") int copy(void *ctx)
{
	struct value *found = lookup(&table, (const void *)&wanted);
	struct record *record;

	if (!found)
		return DROP;
	seen = *found;
	record = reserve(&ring, sizeof(*record) + 8, 0);
	if (!record)
		return DROP;
	record->length = 5;
	record->value = *found;
	__builtin_memcpy(record->rest, "hello\0\0", 8);
	submit(record, 0);
	return PASS;
}

SEC("?syscall") int change(struct value *ctx)
{
	ctx->count += 1;
	ctx->points[1].y = ctx->points[0].x;
	ctx->high = -7;
	ctx->color = BLUE;
	ctx->on = 1;
	return ctx->low;
}

char _license[] SEC("license") = "GPL";
