// SPDX-License-Identifier: MIT OR GPL-2.0-only
// Issue 12, lines 3 and 8. Zig before 0.17 names the pointer types of its BTF, which no kernel takes. Zig 0.16 and later
// write a local symbol ("zig_program.counts") beside every export, at the same place: functions, variables and maps have two
// names, and the code refers to the local one.
const Md = extern struct { data: u32, data_end: u32 };

// what __uint(type, 2), __uint(max_entries, 4), __type(key, u32), __type(value, u32) make
const Map = extern struct {
    type: ?*[2]c_int = null,
    max_entries: ?*[4]c_int = null,
    key: ?*u32 = null,
    value: ?*u32 = null,
};

export var counts: Map linksection(".maps") = .{};
export var runs: u32 = 0;
export var step: u32 linksection(".data") = 2;
export const _license linksection("license") = "GPL\x00".*;

const lookup: *align(1) const fn (*const anyopaque, *const u32) ?*u32 = @ptrFromInt(1);

export fn gives_2(ctx: *Md) linksection("xdp") c_int {
    if (ctx.data == 0) return 0;
    const key: u32 = 3;
    if (lookup(@ptrCast(&counts), &key)) |count| {
        count.* += 1;
        runs += step;
    }
    return @intCast(runs);
}
