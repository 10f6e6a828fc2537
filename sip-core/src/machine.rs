//! The verbs that every machine has.

use crate::config::Limits;
use crate::endpoint::{Misuse, Output, SendError, Source, Stats, Ticket, Transmit};
use crate::framing::{Framed, StreamBuf, read_frame};
use crate::handle::{FlowId, ResolveId};
use crate::message::{Message, Parsed};
use crate::time::Instant;
use crate::transaction::{Item, Layer};
use crate::transport::{Local, Target};
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt::Debug;
use core::net::SocketAddr;

/// A state machine that speaks SIP: [`Endpoint`](crate::Endpoint), [`ua::UserAgent`](crate::ua::UserAgent), [`proxy::Proxy`](crate::proxy::Proxy),
/// [`proxy::stateless::Stateless`](crate::proxy::stateless::Stateless).
///
/// Bytes, time and facts go in; [`poll`](Self::poll) gives what is to be done. Drivers, simulators and fuzzers are written
/// against this trait, so that they drive any of the machines; the commands of a machine are its own methods. The rules
/// that all of them keep are numbered in the [crate documentation](crate#the-contract).
pub trait Machine {
    /// What the machine tells its user. Events that bytes caused borrow the bytes; polled ones own what little they hold.
    type Event<'b>: Send + Debug;

    /// The commands of the machine as plain values.
    type Command<'a>: Debug;

    /// What a command makes: the handles of it, or nothing.
    type Made: Debug;

    /// Takes one datagram, or one message of a flow that frames messages itself.
    fn datagram<'b>(&mut self, now: Instant, from: Source, data: &'b [u8]) -> Option<Self::Event<'b>>;

    /// Takes messages from the front of a stream's buffer until one means something to the user. Call it until it returns
    /// `None`, which means that no whole message is left.
    fn stream<'b>(&mut self, now: Instant, flow: FlowId, buf: &'b mut StreamBuf) -> Option<Self::Event<'b>>;

    /// Says what time it is. What is due then is done by [`poll`](Self::poll), one timer a call.
    fn advance(&mut self, now: Instant);

    /// The next output; `None` when there is nothing to do before [`deadline`](Self::deadline) or the next input.
    fn poll(&mut self) -> Option<Output<'_, Self::Event<'static>>>;

    /// The next event, past the transmits and connections that stand before it and stay where they are.
    fn poll_event(&mut self) -> Option<Self::Event<'static>>;

    /// When [`advance`](Self::advance) is to be called next; at once while output is pending.
    fn deadline(&self) -> Option<Instant>;

    /// States that the machine may use this address as its own.
    fn listen(&mut self, now: Instant, local: Local);

    /// States that a peer opened a connection.
    ///
    /// # Errors
    /// [`Misuse::Full`]: close it.
    fn flow_accepted(&mut self, now: Instant, target: Target, local: SocketAddr) -> Result<FlowId, Misuse>;

    /// States that a connection asked for with [`Output::Connect`] is open. False: it is not wanted any more, close it.
    fn flow_opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool;

    /// States that a connection is closed, or could not be opened.
    fn flow_closed(&mut self, now: Instant, flow: FlowId);

    /// States that a transmit could not be sent.
    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError);

    /// Answers [`Output::Resolve`] with the addresses in the order of preference; none if the name has none.
    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]);

    /// Carries out a command given as a value, as the method of the machine does.
    ///
    /// # Errors
    /// As the method of the same name.
    fn command(&mut self, now: Instant, command: Self::Command<'_>) -> Result<Self::Made, Misuse>;

    /// Begins nothing new from here on: new requests are refused with 503, commands that begin something return
    /// [`Misuse::Draining`]; what is under way goes on.
    fn drain(&mut self, now: Instant);

    /// Whether nothing is alive and no output is pending.
    fn is_idle(&self) -> bool;

    /// Counters and sizes.
    fn stats(&self) -> Stats;

    /// The event with a copy of its bytes, for another task.
    fn into_owned(event: Self::Event<'_>) -> Self::Event<'static>;

    /// What a driver does with an event that its user has no room for: a new request is answered with 503; a provisional
    /// response, an ACK and what belongs to nothing are dropped; what the user must not miss is given back.
    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>>;
}

/// Who uses a machine: the TU of RFC 3261 §5. Drivers run one beside its machine and hand it every event.
///
/// It may give commands from within each call. Nothing here blocks: what takes time is a later call.
pub trait TransactionUser<M: Machine> {
    /// Takes one event.
    fn event(&mut self, now: Instant, machine: &mut M, event: M::Event<'_>);

    /// When [`advance`](Self::advance) is to be called next, if ever.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Says what time it is.
    fn advance(&mut self, now: Instant, machine: &mut M) {
        let _ = (now, machine);
    }

    /// Whether it wants nothing more: its driver may stop.
    fn is_done(&self) -> bool {
        false
    }

    /// It is asked to end, by a signal say. Whether it has something to say before, a registration to take back: then its driver goes on until it
    /// [is done](Self::is_done), for some seconds at most; else it ends at once.
    fn stop(&mut self, now: Instant, machine: &mut M) -> bool {
        let _ = (now, machine);
        false
    }
}

/// One input of a machine as a plain value: the log of a run, the vocabulary of a fuzzer, the form of a bug report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input<'a, C> {
    /// [`Machine::datagram`]
    Datagram {
        /// Where it came from.
        from: Source,
        /// Its bytes.
        data: &'a [u8],
    },
    /// Bytes read from a flow, and one call of [`Machine::stream`]; without bytes, a further call.
    Stream {
        /// Which flow.
        flow: FlowId,
        /// The bytes.
        data: &'a [u8],
    },
    /// [`Machine::advance`]
    Advance,
    /// [`Machine::listen`]
    Listen(Local),
    /// [`Machine::flow_accepted`]
    FlowAccepted {
        /// The peer.
        target: Target,
        /// This end.
        local: SocketAddr,
    },
    /// [`Machine::flow_opened`]
    FlowOpened {
        /// Which flow.
        flow: FlowId,
        /// This end.
        local: SocketAddr,
    },
    /// [`Machine::flow_closed`]
    FlowClosed(FlowId),
    /// [`Machine::send_failed`]
    SendFailed(Ticket, SendError),
    /// [`Machine::resolved`]
    Resolved {
        /// Which question.
        id: ResolveId,
        /// The addresses.
        addrs: &'a [SocketAddr],
    },
    /// [`Machine::drain`]
    Drain,
    /// [`Machine::command`]
    Command(C),
}

/// The stream buffers that a run of [`Input`]s needs: one for each flow.
#[derive(Debug, Default)]
pub struct Streams(BTreeMap<FlowId, StreamBuf>);

impl Streams {
    /// Gives one input to a machine; `heard` is called with the event that bytes caused. While a stream gives one, there may be more:
    /// give it an [`Input::Stream`] without bytes.
    ///
    /// # Errors
    /// What a command, or accepting a flow, was refused for.
    pub fn feed<M: Machine>(
        &mut self,
        machine: &mut M,
        now: Instant,
        input: Input<'_, M::Command<'_>>,
        mut heard: impl FnMut(&mut M, M::Event<'_>),
    ) -> Result<(), Misuse> {
        match input {
            Input::Datagram { from, data } => {
                if let Some(event) = machine.datagram(now, from, data) {
                    heard(machine, event);
                }
            }
            Input::Stream { flow, data } => {
                let buf = self.0.entry(flow).or_default();
                buf.extend(data);
                if let Some(event) = machine.stream(now, flow, buf) {
                    heard(machine, event);
                }
            }
            Input::Advance => machine.advance(now),
            Input::Listen(local) => machine.listen(now, local),
            Input::FlowAccepted { target, local } => {
                return machine.flow_accepted(now, target, local).map(|_| ());
            }
            Input::FlowOpened { flow, local } => {
                machine.flow_opened(now, flow, local);
            }
            Input::FlowClosed(flow) => {
                self.0.remove(&flow);
                machine.flow_closed(now, flow);
            }
            Input::SendFailed(ticket, error) => machine.send_failed(now, ticket, error),
            Input::Resolved { id, addrs } => machine.resolved(now, id, addrs),
            Input::Drain => machine.drain(now),
            Input::Command(command) => return machine.command(now, command).map(|_| ()),
        }
        Ok(())
    }
}

// What the machines share in carrying out the verbs.

/// The verbs that every machine carries out in the same way: bytes go through its `hear`, what is due through its `fire`, and facts go to
/// its layer between its `enter` and its `leave`.
macro_rules! verbs {
    () => {
        fn datagram<'b>(
            &mut self,
            now: $crate::time::Instant,
            from: $crate::endpoint::Source,
            data: &'b [u8],
        ) -> Option<Event<'b>> {
            self.enter(now);
            let Some(exact) = self.layer.receive_exact(from, data) else {
                self.leave();
                return None;
            };
            let mut parsed = $crate::message::Parsed::unread();
            $crate::framing::read_datagram(data, &self.layer.limits, &mut parsed);
            let meaning = self.hear(from, &parsed, exact)?;
            Some(Event::of(meaning, from, parsed.message))
        }

        fn stream<'b>(
            &mut self,
            now: $crate::time::Instant,
            flow: $crate::handle::FlowId,
            buf: &'b mut $crate::framing::StreamBuf,
        ) -> Option<Event<'b>> {
            self.enter(now);
            let source = $crate::endpoint::Source::Flow(flow);
            self.layer.heard_on(flow, buf);
            let limits = self.layer.limits.clone();
            let (meaning, parsed) = $crate::machine::next_heard(buf, &limits, |parsed| {
                let Some(parsed) = parsed else {
                    self.layer.pong(flow);
                    return None;
                };
                let meaning = self.hear(source, parsed, 0);
                if parsed.fault.is_some_and($crate::message::Error::breaks_stream) {
                    self.layer.close_flow(flow);
                    self.leave();
                }
                meaning
            })?;
            Some(Event::of(meaning, source, parsed.message))
        }

        fn advance(&mut self, now: $crate::time::Instant) {
            self.enter(now);
        }

        fn poll(&mut self) -> Option<$crate::endpoint::Output<'_, Event<'static>>> {
            while self.layer.out.is_empty() && self.is_due() {
                self.fire();
            }
            $crate::machine::next_output(&mut self.layer, &mut self.events)
        }

        fn poll_event(&mut self) -> Option<Event<'static>> {
            while self.events.is_empty() && self.is_due() {
                self.fire();
            }
            let event = self.events.pop_front()?;
            self.layer.out.overtake();
            Some(event.into())
        }

        fn deadline(&self) -> Option<$crate::time::Instant> {
            if self.layer.out.is_empty() { self.next_due() } else { Some(self.layer.clock()) }
        }

        fn listen(&mut self, now: $crate::time::Instant, local: $crate::transport::Local) {
            self.enter(now);
            self.layer.listen(local);
        }

        fn flow_accepted(
            &mut self,
            now: $crate::time::Instant,
            target: $crate::transport::Target,
            local: core::net::SocketAddr,
        ) -> Result<$crate::handle::FlowId, $crate::endpoint::Misuse> {
            self.enter(now);
            self.layer.flow_accepted(target, local).ok_or($crate::endpoint::Misuse::Full)
        }

        fn flow_opened(
            &mut self,
            now: $crate::time::Instant,
            flow: $crate::handle::FlowId,
            local: core::net::SocketAddr,
        ) -> bool {
            self.enter(now);
            let wanted = self.layer.flow_opened(flow, local);
            self.leave();
            wanted
        }

        fn flow_closed(&mut self, now: $crate::time::Instant, flow: $crate::handle::FlowId) {
            self.enter(now);
            self.layer.flow_closed(flow);
            self.leave();
        }

        fn send_failed(
            &mut self,
            now: $crate::time::Instant,
            ticket: $crate::endpoint::Ticket,
            error: $crate::endpoint::SendError,
        ) {
            self.enter(now);
            self.layer.send_failed(ticket, error);
            self.leave();
        }

        fn resolved(
            &mut self,
            now: $crate::time::Instant,
            id: $crate::handle::ResolveId,
            addrs: &[core::net::SocketAddr],
        ) {
            self.enter(now);
            self.layer.resolved(id, addrs);
            self.leave();
        }

        fn drain(&mut self, now: $crate::time::Instant) {
            self.enter(now);
            self.layer.draining = true;
        }
    };
}

pub(crate) use verbs;

/// The next queued output; events come from the owner's own queue, in step with their marks.
pub(crate) fn next_output<'m, E, Q: Into<E>>(
    layer: &'m mut Layer,
    events: &mut VecDeque<Q>,
) -> Option<Output<'m, E>> {
    Some(match layer.out.pop(&mut layer.buffers)? {
        Item::Transmit { to, buffer, ticket, again } => Output::Transmit(Transmit {
            ticket,
            to,
            bytes: layer.buffers.message(buffer),
            retransmission: again,
        }),
        Item::Connect { flow, target } => Output::Connect { flow, target },
        Item::Close(flow) => Output::Close { flow },
        Item::Resolve { id, buffer, port, transport } => {
            let host = core::str::from_utf8(layer.buffers.message(buffer)).unwrap_or_default();
            Output::Resolve { id, host, port, transport }
        }
        Item::Event => Output::Event(events.pop_front()?.into()),
    })
}

/// Takes messages off a stream until `hear` makes something of one; returns that with the message, which borrows the
/// buffer.
pub(crate) fn next_heard<'b, T>(
    buf: &'b mut StreamBuf,
    limits: &Limits,
    mut hear: impl FnMut(Option<&Parsed<'_>>) -> Option<T>,
) -> Option<(T, Parsed<'b>)> {
    let (heard, range, index, fault) = loop {
        let (range, fault) = match buf.next(limits)? {
            Framed::Ping => {
                hear(None);
                continue;
            }
            Framed::Message(range) => (range, None),
            Framed::Broken(range, kind) => (range, Some(kind)),
        };
        let mut parsed = Parsed::unread();
        read_frame(buf.slice(range.clone()), fault, limits, &mut parsed);
        if let Some(heard) = hear(Some(&parsed)) {
            break (heard, range, parsed.message.into_index(), parsed.fault);
        }
    };
    // The loop could not go on while the message borrows the buffer: it is borrowed again, by the same index.
    Some((heard, Parsed { message: Message::borrowed(buf.slice(range), index), fault }))
}
