//! Flows: user agents that do together what a script says, over a network that is as it should be, or is not.
//!
//! ```text
//! == a BYE that crosses another
//! hold a BYE 10ms
//! 0         a >  invite call
//! .         a -> INVITE
//! 1ms       b <  incoming call
//! 2ms       b >  accept call
//! .         b -> 200 INVITE
//! 3ms       a <  answered call
//! .         a -> ACK
//! 4ms       b <  established call
//! 1s        a >  bye call
//! .         a -> BYE
//! 1.005s    b >  bye call
//! .         b -> BYE
//! 1.006s    a -> 200 BYE
//! 1.007s    b <  ended call LocalBye
//! 1.011s    b -> 200 BYE
//! 1.012s    a <  ended call LocalBye
//! ```
//!
//! `==` begins a section with fresh machines at time 0; `#` begins a comment. A message takes a millisecond. A time is absolute (`0`, `500ms`, `3.5s`), relative to the line before
//! (`+200ms`), or the same (`.`). [`Flow::exact`] is strict: what the machines send, and what their users are told, is what stands there, in this order, at
//! this microsecond. [`Flow::under`] takes the commands alone, each so long after what its user was told before it, over a bad network.
//!
//! To write one, write its commands, let the example `scenario --trace FILE.flow` print what happens, and look whether it should.
//!
//! | line | means |
//! |---|---|
//! | `over tcp` | how they talk; else UDP |
//! | `agent a timer=90s methods=REFER,REGISTER packages=presence noprack` | how an agent is configured: a session timer, what it takes besides INFO and MESSAGE, `noprack`: the user sends each PRACK |
//! | `proxy p to=b,c/d challenges leaves` | `p`, then `q`: a proxy that forwards what comes to it to all of these, and to those behind a `/` when they have failed; `challenges`: only with credentials, any will do; `leaves`: it does not stay on the way of the dialog; `ringing=10s`: Timer C; `recurse`: it tries the addresses of a 3xx; `redirects`: it says where they are, and forwards nothing; `as=repro`: whose order of responses it has |
//! | `proxy p to=b,p spiral=9:c,d` | one of its targets is itself: what goes there comes back nine times, and goes to these in the end |
//! | `hold a BYE 50ms`, `lose a ACK`, `copy b 200 INVITE` | the next message of `a` like this one comes late, is lost, or comes twice |
//! | `a > invite NAME [to=c] [bare] [replaces=OTHER] [expires=3s]` | a call to `b`, or `c`; `bare`: without an offer |
//! | `a > ring NAME 183 [reliably] [offer]`, `accept NAME [bare]`, `reject NAME 486 [challenge] [to=c]`, `cancel NAME`, `bye NAME`, `ack NAME`, `prack NAME [bare]` | what users do with calls |
//! | `a > send NAME METHOD [bare]`, `stop` | a request inside a dialog, INVITE and UPDATE with an offer unless `bare`; the last one is given up |
//! | `a > answer 200 [bare] [offer] [challenge]` | the oldest request that waits for its user is answered |
//! | `a > request METHOD to=b`, `register to=c`, `unregister`, `subscribe to=b`, `unsubscribe`, `notify active`, `refer NAME to=c` | what happens besides calls; packages are `presence` |
//! | `… ! WrongState` | a command that is refused so |
//! | `a < WORDS` | what a user is told: `incoming NAME`, `progress NAME 180 [prack]`, `answered NAME [offer]`, `established NAME`, `refused NAME 486`, `ended NAME REASON`, `request METHOD`, `acknowledged NAME`, `response 200 METHOD [offer]`, `withdrawn`, `declined 481 METHOD`, `notified active`, `subscribe`, `subscribed 202`, `over REASON`, `refer`, `registered`, `unregistered`, `refresh due`, `failed CAUSE` |
//! | `a -> METHOD [auth] [again]`, `a -> 200 METHOD [again]` | what an agent sends |

mod player;
mod wire;

use self::player::{After, Names, Player, Step};
use self::wire::{Trick, Wire};
use super::calls::address;
use super::dialogs::dialog_monitors;
use super::faults::Faults;
use super::ledger::{Ledger, Ledgers, left};
use super::monitor::{Violation, wire_monitors};
use super::node::Node;
use super::party::Party;
use super::router::{Router, Spiral};
use super::scenario::{Failed, sections, words};
use super::tape::Tape;
use super::world::World;
use crate::config::Config as CoreConfig;
use crate::message::Method;
use crate::proxy::{self, Preference, Proxy};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Transport;
use crate::ua::{Config, SessionTimer, UserAgent};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

/// What agents may take besides.
const TAKEN: [Method<'static>; 4] = [Method::Refer, Method::Register, Method::Publish, Method::Options];

/// The nodes, by their letters: user agents, then proxies.
const NODES: [&str; 6] = ["a", "b", "c", "d", "p", "q"];

/// How many of them are user agents.
const AGENTS: usize = 4;

/// One section of a file of flows.
#[derive(Clone, Debug)]
pub struct Flow {
    title: String,
    transport: Transport,
    agents: [Agent; AGENTS],
    proxies: Vec<Relay>,
    tricks: Vec<Trick>,
    steps: Vec<Step>,
    expected: Vec<Expected>,
}

/// How an agent is configured.
#[derive(Clone, Debug, Default)]
struct Agent {
    timer: Option<core::time::Duration>,
    methods: Vec<Method<'static>>,
    packages: Vec<String>,
    noprack: bool,
}

/// How a proxy is configured.
#[derive(Clone, Debug, Default)]
struct Relay {
    to: Vec<Vec<usize>>,
    challenges: bool,
    leaves: bool,
    recurse: bool,
    redirects: bool,
    ringing: Option<core::time::Duration>,
    prefer: Preference,
    /// How often a request comes back to it that is sent to itself, and where it goes then.
    spiral: Option<(u8, Vec<usize>)>,
}

/// A line that says what happens.
#[derive(Clone, Debug)]
struct Expected {
    line: usize,
    happens: Happened,
}

/// Something that an agent sent or its user was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Happened {
    at: Instant,
    node: usize,
    /// `>`, `<` or `->`
    what: &'static str,
    words: String,
}

impl core::fmt::Display for Happened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let node = NODES.get(self.node).copied().unwrap_or_default();
        write!(f, "{} {node} {} {}", super::trace::seconds(self.at), self.what, self.words)
    }
}

/// All that happened, in order.
type Diary = Rc<RefCell<Vec<Happened>>>;

/// Reads a file of flows.
///
/// # Errors
/// The first line that can't be read.
pub fn read(text: &str) -> Result<Vec<Flow>, Failed> {
    let mut flows = Vec::new();
    for (title, lines) in sections(text)? {
        let mut flow = Flow {
            title: title.clone(),
            transport: Transport::Udp,
            agents: Default::default(),
            proxies: Vec::new(),
            tricks: Vec::new(),
            steps: Vec::new(),
            expected: Vec::new(),
        };
        let mut now = Instant::ZERO;
        for (line, text) in lines {
            flow.line(line, text, &mut now).map_err(|what| Failed { line, section: title.clone(), what })?;
        }
        flows.push(flow);
    }
    Ok(flows)
}

fn node(name: &str) -> Result<usize, String> {
    NODES
        .iter()
        .position(|known| *known == name)
        .ok_or_else(|| format!("{name} is none of {}", NODES.join(", ")))
}

/// A list of names.
fn nodes(names: &str) -> Result<Vec<usize>, String> {
    names.split(',').map(node).collect()
}

impl Flow {
    /// What its first line says.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn line(&mut self, number: usize, line: &str, now: &mut Instant) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match &*words {
            ["over", over] => {
                self.transport = words::need(Transport::named(over.as_bytes()), "the transport")?;
            }
            ["agent", name, rest @ ..] => {
                let agent = words::need(self.agents.get_mut(node(name)?), "the agent")?;
                for word in rest {
                    agent.set(word)?;
                }
            }
            ["proxy", name, rest @ ..] => {
                if node(name)? != AGENTS + self.proxies.len() {
                    return Err(format!(
                        "the proxies are {}, in this order",
                        NODES.split_at(AGENTS).1.join(", ")
                    ));
                }
                let mut proxy = Relay::default();
                for word in rest {
                    proxy.set(word)?;
                }
                if proxy.to.is_empty() {
                    return Err(format!("to= says where {name} sends what comes"));
                }
                self.proxies.push(proxy);
            }
            [trick @ ("hold" | "lose" | "copy"), name, rest @ ..] => {
                self.tricks.push(Trick::read(trick, node(name)?, rest)?);
            }
            [time, name, sign @ (">" | "<" | "->"), rest @ ..] => {
                let node = node(name)?;
                if node >= AGENTS && *sign != "->" {
                    return Err(format!("{name} is a proxy: it sends, and has no user here"));
                }
                let at = words::instant(time, *now)?;
                *now = at;
                let words = rest.join(" ");
                if *sign == ">" {
                    // It depends on what its user was told last.
                    let told = |line: &&Expected| line.happens.node == node && line.happens.what == "<";
                    let after = self.expected.iter().rfind(told).map(|last| {
                        let alike = |line: &&Expected| told(line) && line.happens.words == last.happens.words;
                        let nth = self.expected.iter().filter(alike).count();
                        After { words: last.happens.words.clone(), nth, at: last.happens.at }
                    });
                    self.steps.push(Step::read(at, node, after, rest)?);
                } else {
                    let what = if *sign == "<" { "<" } else { "->" };
                    let happens = Happened { at, node, what, words };
                    self.expected.push(Expected { line: number, happens });
                }
            }
            _ => return Err(format!("{line:?} is no line of a flow")),
        }
        Ok(())
    }

    /// Over a sound network, on which a message takes a millisecond: what happens is what stands there.
    ///
    /// # Errors
    /// The first line that does not hold.
    pub fn exact(&self) -> Result<(), Failed> {
        let (violations, diary) = self.play(Faults::NONE, Tape::list(&[]), None);
        let failed = |line, what| Err(Failed { line, section: self.title.clone(), what });
        let mut happened = diary.into_iter().filter(|happened| happened.what != ">");
        for Expected { line, happens } in &self.expected {
            match happened.next() {
                Some(found) if found == *happens => {}
                Some(found) => return failed(*line, format!("expected {happens}, but {found}")),
                None => return failed(*line, format!("expected {happens}, but nothing happens any more")),
            }
        }
        let last = self.expected.last().map_or(0, |expected| expected.line);
        match (happened.next(), violations.first()) {
            (Some(found), _) => failed(last, format!("not expected: {found}")),
            (None, Some(violation)) => failed(last, violation.to_string()),
            (None, None) => Ok(()),
        }
    }

    /// All that happens over a sound network, as the lines of a flow: what [`exact`](Self::exact) wants to be written.
    pub fn happens(&self) -> Vec<String> {
        let (_, diary) = self.play(Faults::NONE, Tape::list(&[]), None);
        diary.iter().map(ToString::to_string).collect()
    }

    /// Over a network with these faults, as a tape has it: what the monitors find. Who is still in a call at the end hangs up.
    pub fn under(&self, faults: Faults, tape: Tape) -> Vec<Violation> {
        self.play(faults, tape, Some(player::FAREWELL)).0
    }

    fn play(&self, faults: Faults, tape: Tape, farewell: Option<Instant>) -> (Vec<Violation>, Vec<Happened>) {
        let mut world = World::new(tape, faults);
        let (diary, ledger, names) =
            (Diary::default(), Rc::new(RefCell::new(Ledger::default())), Names::default());
        for (at, agent) in self.agents.iter().enumerate() {
            let steps: Vec<Step> = self.steps.iter().filter(|step| step.node == at).cloned().collect();
            let tricks: Vec<Trick> = self.tricks.iter().filter(|trick| trick.node == at).cloned().collect();
            let config = agent.config(at);
            let (transport, diary, ledger, names) =
                (self.transport, diary.clone(), ledger.clone(), names.clone());
            world.add(address(at), move |_| -> Box<dyn Node> {
                ledger.borrow_mut().forget(at);
                let (steps, ledger, names) = (steps.clone(), ledger.clone(), names.clone());
                let player = Player::new(at, transport, steps, diary.clone(), ledger, names, farewell);
                let party = Party::new(UserAgent::new(config.clone()), address(at), player);
                Box::new(Wire::around(at, Box::new(party), tricks.clone(), diary.clone()))
            });
        }
        for (at, proxy) in (AGENTS..).zip(&self.proxies) {
            let tricks: Vec<Trick> = self.tricks.iter().filter(|trick| trick.node == at).cloned().collect();
            let (proxy, transport, diary) = (proxy.clone(), self.transport, diary.clone());
            world.add(address(at), move |_| -> Box<dyn Node> {
                let party = Party::new(proxy.machine(at), address(at), proxy.router(at, transport));
                Box::new(Wire::around(at, Box::new(party), tricks.clone(), diary.clone()))
            });
        }
        for monitor in wire_monitors().into_iter().chain(dialog_monitors(&Timers::DEFAULT, AGENTS)) {
            world.watch(monitor);
        }
        world.watch(Ledgers::over(&ledger));
        world.run();
        let violations = left(&world);
        drop(world);
        let diary = core::mem::take(&mut *diary.borrow_mut());
        (violations, diary)
    }
}

/// The URI of a node.
fn uri(node: usize, transport: Transport) -> String {
    let name = NODES.get(node).copied().unwrap_or_default();
    let param = if transport == Transport::Udp { "" } else { ";transport=tcp" };
    format!("sip:{name}@{}{param}", address(node))
}

impl Relay {
    fn set(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            Some(("to", names)) => self.to = names.split('/').map(nodes).collect::<Result<_, _>>()?,
            Some(("ringing", time)) => self.ringing = Some(words::need(words::duration(time), "the time")?),
            Some(("as", "repro")) => self.prefer = Preference::Repro,
            Some(("spiral", rest)) => {
                let (times, names) = words::need(rest.split_once(':'), "where it ends")?;
                let times = times.parse().map_err(|_| format!("{times} is no number"))?;
                self.spiral = Some((times, nodes(names)?));
            }
            None if word == "challenges" => self.challenges = true,
            None if word == "leaves" => self.leaves = true,
            None if word == "recurse" => self.recurse = true,
            None if word == "redirects" => self.redirects = true,
            _ => {
                return Err(format!(
                    "{word} is none of to=, ringing=, as=repro, spiral=, challenges, leaves, recurse, redirects"
                ));
            }
        }
        Ok(())
    }

    fn machine(&self, node: usize) -> Proxy {
        let mut seed = [7; 32];
        if let Some(first) = seed.first_mut() {
            *first = node as u8;
        }
        Proxy::new(proxy::Config {
            record_route: !self.leaves,
            recurse: self.recurse,
            prefer: self.prefer,
            ..proxy::Config::new(CoreConfig::new(seed))
        })
    }

    fn router(&self, node: usize, transport: Transport) -> Router {
        let host = address(node).to_string();
        let times = self.spiral.as_ref().map_or(0, |(times, _)| *times);
        let target = |to: &usize| {
            if *to == node { format!("sip:{times}@{host}") } else { uri(*to, transport) }
        };
        let targets = |nodes: &Vec<usize>| nodes.iter().map(target).collect();
        Router {
            turns: self.to.iter().map(targets).collect(),
            realm: NODES.get(node).filter(|_| self.challenges).map(|name| (*name).into()),
            redirects: self.redirects,
            spiral: self.spiral.as_ref().map(|(_, end)| Spiral { end: targets(end), host: host.clone() }),
            ringing: self.ringing,
        }
    }
}

impl Agent {
    fn set(&mut self, word: &str) -> Result<(), String> {
        let list = |values: &str| values.split(',').map(str::to_string).collect();
        match word.split_once('=') {
            Some(("timer", time)) => self.timer = Some(words::time(time)?),
            Some(("methods", values)) => {
                let method =
                    |name: &str| TAKEN.into_iter().find(|method| method.as_bytes() == name.as_bytes());
                self.methods = words::need(values.split(',').map(method).collect(), "the method")?;
            }
            Some(("packages", values)) => self.packages = list(values),
            None if word == "noprack" => self.noprack = true,
            _ => return Err(format!("{word} is none of timer=, methods=, packages=, noprack")),
        }
        Ok(())
    }

    fn config(&self, node: usize) -> Config {
        let mut seed = [7; 32];
        if let Some(first) = seed.first_mut() {
            *first = node as u8;
        }
        Config {
            methods: [Method::Info, Method::Message]
                .into_iter()
                .chain(self.methods.iter().copied())
                .collect(),
            packages: self.packages.clone(),
            credentials: [crate::auth::Credentials::new("user", "secret")].into(),
            redirects: 3,
            session_timer: SessionTimer { expires: self.timer, ..SessionTimer::DEFAULT },
            auto_prack: !self.noprack,
            ..Config::new(CoreConfig::new(seed), NODES.get(node).copied().unwrap_or_default())
        }
    }
}
