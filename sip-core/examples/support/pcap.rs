//! The messages of a run as packets, for tshark, sngrep and Wireshark.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use sip_core::sim::{Trace, What};
use std::collections::BTreeMap;
use std::path::Path;

/// Writes all messages that were sent, each when it was sent, as IPv4 packets without a link layer. A message of a connection has the
/// sequence numbers that it would have.
///
/// # Errors
/// The file can't be written.
pub(crate) fn write(path: &Path, trace: &Trace) -> Result<(), Box<dyn core::error::Error>> {
    let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(std::fs::File::create(path)?, header)?;
    let mut sequence: BTreeMap<(u32, SocketAddr), u32> = BTreeMap::new();
    for entry in trace.entries() {
        let What::Sent { packet } = entry.what else { continue };
        let Some(packet) = trace.packet(packet) else { continue };
        let (IpAddr::V4(from), IpAddr::V4(to)) = (packet.from.ip(), packet.to.ip()) else { continue };
        let ip = PacketBuilder::ipv4(from.octets(), to.octets(), 64);
        let mut bytes = Vec::new();
        match packet.conn {
            None => ip.udp(packet.from.port(), packet.to.port()).write(&mut bytes, &packet.bytes)?,
            Some(conn) => {
                let acknowledged = sequence.get(&(conn, packet.to)).copied().unwrap_or(1);
                let number = sequence.entry((conn, packet.from)).or_insert(1);
                let tcp =
                    ip.tcp(packet.from.port(), packet.to.port(), *number, 65_535).ack(acknowledged).psh();
                *number = number.wrapping_add(packet.length as u32);
                tcp.write(&mut bytes, &packet.bytes)?;
            }
        }
        let at = Duration::from_micros(entry.at.as_micros());
        writer.write_packet(&PcapPacket::new(at, bytes.len() as u32, &bytes))?;
    }
    Ok(())
}
