// SPDX-License-Identifier: Apache-2.0
//! Loads an object with Aya, runs its programs on packets, and prints what Aya's logger and env_logger make of their messages.
//!
//!   reader FILE < lines       a line is PROGRAM and a packet in hexadecimal digits; "= N" follows the output of each

use std::{
    env, fs,
    io::{self, BufRead as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
};

#[cfg(feature = "perf")]
use std::time::Duration;

#[cfg(feature = "perf")]
use {aya_13 as aya, aya_log_2 as aya_log};
#[cfg(feature = "ring")]
use {aya_14 as aya, aya_log_3 as aya_log};
#[cfg(feature = "newest")]
use {aya_16 as aya, aya_log_4 as aya_log};

use aya::{programs::Program, Ebpf};

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// The part of bpf_attr that BPF_PROG_TEST_RUN reads (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Trace)
        .filter_module("aya", log::LevelFilter::Off)
        .format_timestamp(None)
        .target(env_logger::Target::Stdout)
        .init();
    let file = env::args().nth(1).ok_or("usage: reader FILE")?;
    let mut ebpf = Ebpf::load(&fs::read(file)?)?;
    read_logs(&mut ebpf)
}

#[cfg(feature = "perf")]
fn read_logs(ebpf: &mut Ebpf) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        aya_log::EbpfLogger::init(ebpf)?;
        for (count, line) in io::stdin().lock().lines().enumerate() {
            run(ebpf, &line?)?;
            tokio::time::sleep(Duration::from_millis(5)).await; // its tasks read meanwhile
            said(count)?;
        }
        Ok(())
    })
}

#[cfg(not(feature = "perf"))]
fn read_logs(ebpf: &mut Ebpf) -> Outcome<()> {
    let mut logger = aya_log::EbpfLogger::init(ebpf)?;
    for (count, line) in io::stdin().lock().lines().enumerate() {
        run(ebpf, &line?)?;
        logger.flush();
        said(count)?;
    }
    Ok(())
}

fn said(count: usize) -> Outcome<()> {
    println!("= {count}");
    Ok(io::stdout().flush()?)
}

fn run(ebpf: &mut Ebpf, line: &str) -> Outcome<()> {
    let (name, digits) = line.split_once(' ').ok_or("a line is PROGRAM and a packet")?;
    let packet: Vec<u8> = (0..digits.len() / 2)
        .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16))
        .collect::<Result<_, _>>()?;
    let program = ebpf.program_mut(name).ok_or("no such program")?;
    if program.fd().is_err() {
        match program {
            Program::Xdp(it) => it.load()?,
            Program::SchedClassifier(it) => it.load()?,
            _ => return Err("neither XDP nor a classifier".into()),
        }
    }
    let mut attr = TestRun {
        prog_fd: program.fd()?.as_fd().as_raw_fd() as u32,
        data_size_in: packet.len() as u32,
        data_in: packet.as_ptr() as u64,
        ..TestRun::default()
    };
    let size = size_of::<TestRun>();
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &mut attr as *mut TestRun, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}
