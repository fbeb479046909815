// SPDX-License-Identifier: Apache-2.0
//! The Aya side of the comparisons: what Aya makes of objects, as one JSON object per line.
//!
//!   aya_load verdicts FILE WORD...               each program: loaded, or Aya's error. A WORD is PROGRAM[=TARGET]: the
//!                                                kernel function, hook or tracepoint of a program that needs one; or
//!                                                +MAP=ENTRIES, for a map whose size user space is to set
//!   aya_load times < requests                    whole loads; a request is FILE and WORD..., separated by tabs. Nanoseconds, one loader and one BTF for all.
//!   aya_load cold FILE WORD...                   one whole load with all that a new process has to read and ask; without closing

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    process,
    time::Instant,
};

#[cfg(feature = "aya_13")]
use aya_13 as aya;
#[cfg(feature = "aya_14")]
use aya_14 as aya;
#[cfg(feature = "aya_16")]
use aya_16 as aya;

use aya::{programs::Program, Btf, Ebpf, EbpfLoader};

/// Maps that pin themselves by name do it below here, where nobody else's are; it is gone afterwards.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        let place = PathBuf::from(format!("/sys/fs/bpf/aya_load-{}", process::id()));
        let _ = fs::create_dir(&place);
        Self(place)
    }

    fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = EbpfLoader::new();
        loader.allow_unsupported_maps();
        #[cfg(feature = "aya_13")]
        loader.map_pin_path(&self.0);
        #[cfg(not(feature = "aya_13"))]
        loader.default_map_pin_directory(&self.0);
        loader
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sets the sizes among ``words``, and gives the programs among them.
fn sized<'a>(loader: &mut EbpfLoader<'a>, words: &[&'a str]) -> Vec<&'a str> {
    let (sizes, programs): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('+'));
    for (map, entries) in sizes.iter().filter_map(|word| word[1..].split_once('=')) {
        let entries = entries.parse().unwrap_or_default();
        #[cfg(feature = "aya_13")]
        loader.set_max_entries(map, entries);
        #[cfg(not(feature = "aya_13"))]
        loader.map_max_entries(map, entries);
    }
    programs
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["verdicts", file, programs @ ..] => verdicts(file, programs),
        ["times"] => times(),
        ["cold", file, programs @ ..] => {
            let pins = Pins::new();
            let began = Instant::now();
            let ebpf = load_all(file, programs, &pins)?;
            let took = began.elapsed().as_nanos();
            drop(ebpf);
            println!("{{\"load\":{took}}}");
            Ok(())
        }
        _ => Err("usage: aya_load verdicts|times|cold [FILE PROGRAM...]".into()),
    }
}

fn verdicts(file: &str, words: &[&str]) -> Outcome<()> {
    let pins = Pins::new();
    let mut loader = pins.loader();
    let programs = sized(&mut loader, words);
    let mut ebpf = match loader.load_file(file) {
        Ok(ebpf) => ebpf,
        Err(error) => {
            println!("{{\"error\":{}}}", quoted(&chain(&error)));
            return Ok(());
        }
    };
    let rows: Vec<String> = programs
        .iter()
        .map(|program| match load(&mut ebpf, program) {
            Ok(()) => format!("{{\"name\":{},\"loaded\":true}}", quoted(name_of(program).0)),
            Err(error) => format!(
                "{{\"name\":{},\"loaded\":false,\"error\":{}}}",
                quoted(name_of(program).0),
                quoted(&chain(error.as_ref()))
            ),
        })
        .collect();
    println!("{{\"programs\":[{}]}}", rows.join(","));
    Ok(())
}

fn times() -> Outcome<()> {
    let btf = Btf::from_sys_fs().ok();
    let pins = Pins::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        let mut loader = pins.loader();
        #[cfg(not(feature = "aya_16"))]
        loader.btf(btf.as_ref());
        #[cfg(feature = "aya_16")]
        if let Some(btf) = &btf {
            loader.btf(btf);
        }
        let programs = sized(&mut loader, &words[1..]);
        let began = Instant::now();
        let outcome = loader.load_file(words[0]).map_err(Box::from).and_then(|mut ebpf| {
            programs.iter().try_for_each(|program| load(&mut ebpf, program)).map(|()| ebpf)
        });
        let took = began.elapsed().as_nanos();
        match outcome {
            Ok(_) => println!("{{\"load\":{took}}}"),
            Err(error) => println!("{{\"error\":{}}}", quoted(&chain(error.as_ref()))),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

fn load_all(file: &str, words: &[&str], pins: &Pins) -> Outcome<Ebpf> {
    let mut loader = pins.loader();
    let programs = sized(&mut loader, words);
    let mut ebpf = loader.load_file(file)?;
    programs.iter().try_for_each(|program| load(&mut ebpf, program))?;
    Ok(ebpf)
}

fn name_of(program: &str) -> (&str, &str) {
    program.split_once('=').unwrap_or((program, ""))
}

#[allow(unreachable_patterns)] // none is left over in Aya 0.13
fn load(ebpf: &mut Ebpf, program: &str) -> Outcome<()> {
    let (name, target) = name_of(program);
    let btf = || Btf::from_sys_fs();
    match ebpf.program_mut(name).ok_or("Aya has no program of that name")? {
        Program::KProbe(it) => it.load()?,
        Program::UProbe(it) => it.load()?,
        Program::TracePoint(it) => it.load()?,
        Program::SocketFilter(it) => it.load()?,
        Program::Xdp(it) => it.load()?,
        Program::SkMsg(it) => it.load()?,
        Program::SkSkb(it) => it.load()?,
        Program::CgroupSockAddr(it) => it.load()?,
        Program::SockOps(it) => it.load()?,
        Program::SchedClassifier(it) => it.load()?,
        Program::CgroupSkb(it) => it.load()?,
        Program::CgroupSysctl(it) => it.load()?,
        Program::CgroupSockopt(it) => it.load()?,
        Program::LircMode2(it) => it.load()?,
        Program::PerfEvent(it) => it.load()?,
        Program::RawTracePoint(it) => it.load()?,
        Program::SkLookup(it) => it.load()?,
        Program::CgroupSock(it) => it.load()?,
        Program::CgroupDevice(it) => it.load()?,
        #[cfg(not(feature = "aya_13"))]
        Program::FlowDissector(it) => it.load()?,
        #[cfg(not(feature = "aya_13"))]
        Program::SkReuseport(it) => it.load()?,
        Program::Lsm(it) => it.load(target, &btf()?)?,
        #[cfg(not(feature = "aya_13"))]
        Program::LsmCgroup(it) => it.load(target, &btf()?)?,
        Program::BtfTracePoint(it) => it.load(target, &btf()?)?,
        Program::FEntry(it) => it.load(target, &btf()?)?,
        Program::FExit(it) => it.load(target, &btf()?)?,
        #[cfg(not(feature = "aya_13"))]
        Program::Iter(it) => it.load(target, &btf()?)?,
        Program::Extension(_) => return Err("an extension wants another program".into()),
        _ => return Err("a program type that this loader does not know".into()),
    }
    Ok(())
}

/// An error and what caused it. The verifier's log is part of it: the end says what is wrong.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        next = cause.source();
    }
    let from = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            ' '..='~' => out.push(letter),
            _ => {
                let _ = write!(out, "\\u{:04x}", (letter as u32).min(0xfffd));
            }
        }
    }
    out + "\""
}
