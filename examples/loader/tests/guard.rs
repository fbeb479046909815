// SPDX-License-Identifier: GPL-2.0-only
//! What the loader and the program do together, on the loopback interface of the kernel that runs this. Needs root.

use std::{env, io::ErrorKind, net::UdpSocket, path::PathBuf, sync::Mutex, time::Duration};

use loader::Guard;

/// One program fits on an interface at a time.
static LOOPBACK: Mutex<()> = Mutex::new(());

fn guard() -> Guard {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../rust/target/bpfel-unknown-none/release/port_guard");
    let object = env::var_os("PORT_GUARD").map_or_else(|| PathBuf::from(built), PathBuf::from);
    Guard::attach(&object, "lo").unwrap()
}

/// Whether a packet to a socket of this machine arrives, and its port.
fn arrives(close: Option<&mut Guard>) -> (bool, u16) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let port = receiver.local_addr().unwrap().port();
    if let Some(guard) = close {
        guard.close(port).unwrap();
    }
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", ("127.0.0.1", port)).unwrap();
    match receiver.recv(&mut [0; 8]) {
        Ok(_) => (true, port),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => (false, port),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_closed_port_gets_nothing() {
    let _alone = LOOPBACK.lock();
    let mut guard = guard();
    let (arrived, port) = arrives(Some(&mut guard));
    assert!(!arrived);
    assert_eq!(guard.dropped(port).unwrap(), 1);
}

#[test]
fn other_ports_get_theirs() {
    let _alone = LOOPBACK.lock();
    let _guard = guard();
    assert!(arrives(None).0);
}

#[test]
fn it_is_gone_with_its_loader() {
    let _alone = LOOPBACK.lock();
    let mut guard = guard();
    let (_, port) = arrives(Some(&mut guard));
    drop(guard);
    let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", ("127.0.0.1", port)).unwrap();
    assert!(receiver.recv(&mut [0; 8]).is_ok());
}

#[test]
#[ignore = "a network card with native XDP"]
fn in_the_driver() {
    unreachable!();
}
