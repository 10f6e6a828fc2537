//! Whole transactions in memory: an OPTIONS answered with 200, and an INVITE of ours with 180 and 200, from bytes to the end.
//!
//! All see the same messages, with a branch of their own each time. sipx-sip has no timers: it is told that they fired.
//! rsipstack runs over its own in-memory connection, without sockets, runtime and timers that wait.

mod rsipstack;
mod sipx;

use crate::Work;
use crate::cases::cycles::Cycles;
use crate::cases::options;
use std::hint::black_box;
use std::net::UdpSocket;

pub(crate) fn run() {
    let nist: Vec<(&str, Work<'_>)> = vec![
        ("sip-core", nist()),
        ("sipx-sip", sipx::nist()),
        ("rsipstack", rsipstack::nist()),
        ("sendto + recvfrom of 400 B", loopback()),
    ];
    let ict: Vec<(&str, Work<'_>)> =
        vec![("sip-core", ict()), ("sipx-sip", sipx::ict()), ("rsipstack", rsipstack::ict())];
    for (title, contenders) in [("nist: OPTIONS, 200, end", nist), ("ict: INVITE, 180, 200, end", ict)] {
        let (names, mut works): (Vec<_>, Vec<_>) = contenders.into_iter().unzip();
        let counts: Vec<u64> =
            works.iter_mut().map(|work| allocation_counter::measure(&mut **work).count_total).collect();
        let times = crate::race(&mut works);
        println!("\n{title}; ns / allocations");
        for ((name, time), count) in names.iter().zip(&times).zip(counts) {
            println!("{name:<28}{:>12}", format!("{time:.0}/{count} x{:.1}", time / times[0]));
        }
    }
}

fn nist() -> Work<'static> {
    let mut bench = Cycles::new();
    let mut supply = Supply::new(options);
    warm(Box::new(move || bench.nist_alone(supply.next())))
}

fn ict() -> Work<'static> {
    let mut bench = Cycles::new();
    warm(Box::new(move || bench.alone(Cycles::ict)))
}

fn warm(mut work: Work<'static>) -> Work<'static> {
    (0..100).for_each(|_| work());
    work
}

/// What the system takes for a message there and back, which no stack can save.
fn loopback() -> Work<'static> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let addr = socket.local_addr().expect("an address");
    let mut buffer = [0; 2_048];
    Box::new(move || {
        socket.send_to(black_box(&[7; 400]), addr).expect("sent");
        black_box(socket.recv_from(&mut buffer).expect("received"));
    })
}

/// Messages made beforehand, each with a branch of its own, one after the other.
struct Supply<T> {
    messages: Vec<T>,
    next: usize,
}

impl<T> Supply<T> {
    fn new(make: impl Fn(u64) -> T) -> Self {
        Self { messages: (0..1_024).map(make).collect(), next: 0 }
    }

    fn next(&mut self) -> &T {
        self.next += 1;
        &self.messages[self.next % self.messages.len()]
    }
}

/// An INVITE of ours and its answers, as `Cycles` has them.
fn invite(number: u64) -> [Vec<u8>; 3] {
    let fields = |to: &str| {
        format!(
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{number:032};rport\r\nFrom: <sip:alice@192.0.2.1>;tag=a\r\n\
             To: <sip:bob@192.0.2.2>{to}\r\nCall-ID: ict@192.0.2.1\r\nCSeq: 1 INVITE\r\n"
        )
    };
    let answer = |status: &str| {
        format!(
            "SIP/2.0 {status}\r\n{}Contact: <sip:bob@192.0.2.2>\r\nContent-Length: 0\r\n\r\n",
            fields(";tag=b")
        )
    };
    let invite = format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n{}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        fields("")
    );
    [invite, answer("180 Ringing"), answer("200 OK")].map(String::into_bytes)
}
