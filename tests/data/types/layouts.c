// Globals of every sort of type, as clang lays them out: tests/unit/btf/test_codec_compiled.py knows what they hold.
//
//   for e in el eb; do
//     clang -target bpf$e -O2 -g -std=gnu11 -Wall -Werror -fdebug-compilation-dir=. -c layouts.c -o layouts_$e.o
//     llvm-strip -g layouts_$e.o
//   done

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum color { RED, GREEN = 5, BLUE };
enum sign { MINUS = -2, PLUS = 2 };
enum __attribute__((packed)) tiny { LOW, HIGH = 200 };
enum wide { SMALL = 1, LARGE = 0x123456789abULL };

struct scalars {
	u8 u8;
	signed char s8;
	u16 u16;
	short s16;
	u32 u32;
	int s32;
	u64 u64;
	long long s64;
	_Bool yes, no;
	char letter;
	float f;
	double d;
	__int128 huge;
} scalars = { 200,	   -100,	0xbeef, -2, 0xdeadbeef, -3, 0xfedcba9876543210ULL, -4, 1, 0, 'x', 1.5f,
	      -2.25, (__int128)-5 };

struct bits {
	u32 three : 3;
	u32 seven : 7;
	int minus : 6;
	u32 : 4;
	u32 across : 20;
	u64 long_one : 50;
	_Bool flag : 1;
	enum color color : 4;
	u8 last : 5;
	u16 plain;
} bits = { 5, 100, -17, 0xabcde, 0x2aaaabbbbccccULL, 1, BLUE, 21, 0x1234 };

struct __attribute__((packed)) tight {
	u8 a;
	u32 b;
	u16 c : 9;
	u16 d : 7;
	u64 e;
} tight = { 1, 0x01020304, 257, 65, 0x0102030405060708ULL };

struct nested {
	u32 id;
	struct point {
		short x, y;
	} points[3];
	union {
		u32 whole;
		u8 parts[4];
		struct {
			u16 first, second;
		};
	};
	struct {
		char name[8];
		char names[2][4];
	};
	const volatile struct point *where;
} nested = { 7, { { 1, -1 }, { 2, -2 } }, { .parts = { 1, 2, 3, 4 } }, { "eight ch", { "ab", "cdef" } } };

enum color color = GREEN;
enum sign sign = MINUS;
enum tiny tiny = HIGH;
enum wide wide = LARGE;
u16 grid[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
char text[12] = "hello";
u8 mac[6] = { 1, 2, 3, 4, 5, 6 };
double numbers[2] = { 0.5, -1e100 };

struct tail {
	u32 count;
	u16 items[];
} tail = { 3, { 10, 20, 30 } };

