// SPDX-License-Identifier: GPL-2.0-only
//! Loads port_guard (../rust) with Aya, attaches it, closes ports, and reads how many packets it dropped.

use std::{error::Error, path::Path};

use aya::{
    maps::HashMap,
    programs::{xdp::XdpMode, Xdp},
    Ebpf,
};

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// The program on an interface, until it is dropped.
pub struct Guard(Ebpf);

impl Guard {
    pub fn attach(object: &Path, interface: &str) -> Outcome<Self> {
        let mut ebpf = Ebpf::load_file(object)?;
        let program: &mut Xdp = ebpf.program_mut("port_guard").ok_or("no program port_guard")?.try_into()?;
        program.load()?;
        program.attach(interface, XdpMode::Skb)?;
        Ok(Self(ebpf))
    }

    pub fn close(&mut self, port: u16) -> Outcome<()> {
        let mut ports: HashMap<_, u16, u64> = self.0.map_mut("CLOSED").ok_or("no map CLOSED")?.try_into()?;
        Ok(ports.insert(port, 0, 0)?)
    }

    pub fn dropped(&self, port: u16) -> Outcome<u64> {
        let ports: HashMap<_, u16, u64> = self.0.map("CLOSED").ok_or("no map CLOSED")?.try_into()?;
        Ok(ports.get(&port, 0)?)
    }
}

/// `"53,123"` as ports.
pub fn parse_ports(text: &str) -> Outcome<Vec<u16>> {
    text.split(',').map(|port| Ok(port.trim().parse()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_separated_by_commas() {
        assert_eq!(parse_ports("53, 123").unwrap(), [53, 123]);
    }

    #[test]
    fn a_port_has_16_bits() {
        assert!(parse_ports("65536").is_err());
    }
}
