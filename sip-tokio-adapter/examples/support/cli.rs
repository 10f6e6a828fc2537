//! The command lines of the agents, the same for every adapter: an example hands in how it runs an agent.

use clap::{Args, Parser, ValueEnum};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use sip_core::agent::{
    B2bua, B2buaOptions, Enrolment, Forwarder, ForwarderOptions, Home, HomeOptions, Ping, PingError, Report,
    Sender, Sent, Uac, UacOptions, Uas, UasOptions, Within,
};
use sip_core::auth::Credentials;
use sip_core::message::Status;
use sip_core::proxy::{self, Origin, Proxy};
use sip_core::ua::{self, UserAgent};
use sip_core::{Cause, Config, Endpoint, Instant, Machine, Source, Target, TransactionUser, Transport};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

/// What an adapter does with an agent: opens the sockets, drives the machine until the agent is done or a signal comes, and
/// gives both back. With the flag set it says on stderr where it listens.
pub(crate) type Run<U, M = UserAgent> = fn(M, U, &[Target], bool) -> io::Result<(M, U)>;

/// What an agent reads besides the network.
pub(crate) type Input = Box<dyn Read + Send>;
/// Gives an agent a piece of its input; `None`: there is no more.
pub(crate) type Feed<M, U> = fn(&mut M, &mut U, Instant, Option<&[u8]>);
/// As [`Run`], with an input.
pub(crate) type RunFed<M, U> = fn(M, U, &[Target], Input, Feed<M, U>) -> io::Result<(M, U)>;

/// Answers calls, OPTIONS, REGISTER, SUBSCRIBE to `presence`, MESSAGE and requests inside dialogs, until SIGINT or SIGTERM.
#[derive(Parser)]
struct UasArgs {
    /// Where to listen, for example udp:127.0.0.1:5070; may be given more than once
    #[arg(long, required_unless_present = "local", value_name = "ADDR")]
    listen: Vec<Target>,
    /// Milliseconds that a call rings before it is answered
    #[arg(long, value_name = "MS", default_value_t = 0)]
    ring: u64,
    /// The status that answers a call
    #[arg(long, value_name = "CODE", default_value = "200", value_parser = answer)]
    answer: Status,
    #[command(flatten)]
    identity: Identity,
    /// Not built yet
    #[arg(long, value_name = "N")]
    cores: Option<u32>,
}

/// Places calls at a fixed rate, and hangs them up.
#[derive(Parser)]
struct UacArgs {
    /// The URI to call
    #[arg(long, value_name = "URI")]
    target: String,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 1)]
    calls: u64,
    /// How many calls a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Milliseconds that a call lasts
    #[arg(long, value_name = "MS", default_value_t = 0)]
    hold: u64,
    /// The transport, where the URI names none: udp or tcp
    #[arg(long, value_name = "T", value_parser = transport)]
    transport: Option<Transport>,
    /// Milliseconds after which a call is cancelled
    #[arg(long, value_name = "MS")]
    cancel_after: Option<u64>,
    /// The final status of a call that counts as completed [default: 200, with --cancel-after 487]
    #[arg(long, value_name = "CODE", value_parser = status)]
    expect: Option<Status>,
    /// Put each call on hold and take it back, by re-INVITEs, before it is hung up
    #[arg(long)]
    reinvite: bool,
    /// Refer the peer of each call to this URI, and wait for what becomes of it
    #[arg(long, value_name = "URI", conflicts_with = "reinvite", value_parser = uri)]
    refer: Option<String>,
    /// Subscribe to this event package in place of calling
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["reinvite", "refer"])]
    subscribe: Option<String>,
    #[command(flatten)]
    identity: Identity,
}

/// Forwards requests, with state: by their routes, and what is for this proxy to the places of --to.
#[derive(Parser)]
struct ProxyArgs {
    /// Where to listen, for example udp:127.0.0.1:5060; may be given more than once
    #[arg(long, required = true, value_name = "ADDR")]
    listen: Vec<Target>,
    /// Where requests go that do not say so themselves; may be given more than once
    #[arg(long, required = true, value_name = "URI", value_parser = place)]
    to: Vec<String>,
    /// To all places at once, or to the next one when one has failed
    #[arg(long, value_name = "HOW", default_value = "parallel")]
    fork: Fork,
    /// Stay on the way of dialogs
    #[arg(long)]
    record_route: bool,
    /// Write a line of JSON for each request, branch result and final response: to a file, or to unix:PATH
    #[arg(long, value_name = "FILE")]
    events: Option<String>,
}

/// Stands between the two parties of a call, as a user agent to each: early media, re-INVITE, UPDATE, PRACK, INFO and REFER go across.
#[derive(Parser)]
struct B2buaArgs {
    /// Where to listen, for example udp:127.0.0.1:5060; may be given more than once
    #[arg(long, required = true, value_name = "ADDR")]
    listen: Vec<Target>,
    /// Whom to call for everyone who calls
    #[arg(long, value_name = "URI", value_parser = place)]
    to: String,
    /// Let who calls with a Replaces take the place of the party that it names, whoever it is
    #[arg(long)]
    replaces: bool,
    /// The name and password that challenges are answered with
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    auth: Option<(String, String)>,
}

/// Registers phones in memory, and forwards their calls to each other; until SIGINT or SIGTERM.
#[derive(Parser)]
struct RegistrarArgs {
    /// Where to listen, for example udp:127.0.0.1:5060; may be given more than once
    #[arg(long, required = true, value_name = "ADDR")]
    listen: Vec<Target>,
    /// A domain whose users are at home here, besides the addresses; may be given more than once
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// Who may register and call, each under its own name; may be given more than once, and without it anybody may
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    auth: Vec<(String, String)>,
}

/// Sends requests written in the form of SER's FIFO: `:t_uac:[FILE]`, method, URI, headers, an empty line, body, an empty line. From, To, Call-ID, CSeq,
/// Max-Forwards and Content-Type are filled in where they are not given; a Contact, which INVITE, SUBSCRIBE and REFER need, is the writer's. Each final
/// status goes to its FILE, or to standard output with method and URI; 408 and 503 also stand for no answer and no way there.
#[derive(Parser)]
struct SendArgs {
    /// Read from this named pipe (make it with mkfifo), whoever writes to it, until SIGINT or SIGTERM; else standard input, until its end
    #[arg(long, value_name = "PATH")]
    fifo: Option<PathBuf>,
    /// The address to send from, for example udp:127.0.0.1:5070; may be given more than once [default: any, over UDP and TCP]
    #[arg(long, value_name = "ADDR")]
    local: Vec<Target>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Fork {
    Parallel,
    Serial,
}

/// Sends one OPTIONS; succeeds on a 2xx only.
#[derive(Parser)]
struct PingArgs {
    /// The URI to ask
    uri: String,
}

/// Who the agent is, and where others find it.
#[derive(Args)]
struct Identity {
    /// Who this is: the name and password that challenges are answered with. To `uas` without --register: whom it lets register
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    auth: Option<(String, String)>,
    /// The address to bind and to register, for example udp:127.0.0.1:5070; `uas` listens there besides --listen
    #[arg(long, value_name = "ADDR")]
    local: Option<Target>,
    /// Register with the registrar at this URI, as its user or that of --auth
    #[arg(long, value_name = "URI")]
    register: Option<String>,
}

/// Why a command ends before it began: a line for stderr and an exit status.
struct Failure(String, u8);

impl Identity {
    fn enrolment(&self) -> Result<Option<Enrolment>, Failure> {
        let Some(uri) = &self.register else { return Ok(None) };
        let user = self.auth.as_ref().map_or("anonymous", |(user, _)| user);
        let enrolment = Enrolment::new(uri, user);
        enrolment
            .map(Some)
            .ok_or_else(|| Failure(format!("not a SIP URI: {uri}; write sip:127.0.0.1:5070"), 2))
    }

    /// A user agent with this identity; `user` and `host` are those of one that has none.
    fn machine(
        &self,
        seed: sip_core::Seed,
        user: &str,
        host: &str,
        configure: fn(&mut ua::Config),
    ) -> Result<UserAgent, Failure> {
        let user = self.auth.as_ref().map_or(user, |(user, _)| user);
        let mut config = ua::Config::new(Config::new(seed), user);
        config.identity = match self.enrolment()? {
            Some(enrolment) => enrolment.aor,
            None => format!("<sip:{user}@{host}>"),
        };
        config.product = concat!("sip-core/", env!("CARGO_PKG_VERSION")).into();
        config
            .credentials
            .extend(self.auth.as_ref().map(|(user, password)| Credentials::new(user, password)));
        configure(&mut config);
        Ok(UserAgent::new(config))
    }
}

fn login(text: &str) -> Result<(String, String), String> {
    let (user, password) = text.split_once(':').ok_or("write USER:PASSWORD")?;
    Ok((user.into(), password.into()))
}

/// The arguments, or one line on stderr that says what is wrong with them.
fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            let text = error.to_string();
            let line: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            eprintln!("{}; see --help", line.join(" "));
            std::process::exit(2);
        }
        error.exit()
    })
}

fn not_built(flag: &str) -> Failure {
    Failure(format!("{flag} is not built yet"), 2)
}

fn status(text: &str) -> Result<Status, String> {
    let code = text.parse().map_err(|_| "not a number")?;
    Status::new(code).filter(|status| status.is_final()).ok_or_else(|| "a final status is 200 to 699".into())
}

fn uri(text: &str) -> Result<String, String> {
    let uri = sip_core::uri::Uri::parse(text.as_bytes());
    uri.map(|_| text.into()).map_err(|_| "write a URI: sip:carol@example.com".into())
}

fn place(text: &str) -> Result<String, String> {
    let uri = sip_core::uri::Uri::parse(text.as_bytes());
    let uri = uri.ok();
    let Some(sip) = uri.as_ref().and_then(|uri| uri.as_sip()) else {
        return Err("write a SIP URI: sip:127.0.0.1:5070".into());
    };
    // What nothing could be sent to would fail at each request.
    match sip.params.get("transport").map(Transport::named) {
        None | Some(Some(Transport::Udp | Transport::Tcp)) if !sip.secure => Ok(text.into()),
        _ => Err("only udp and tcp are built yet".into()),
    }
}

/// What a call can be answered with.
fn answer(text: &str) -> Result<Status, String> {
    let answers = |status: &Status| *status == Status::OK || status.code() >= 300;
    status(text).ok().filter(answers).ok_or_else(|| "write 200, or a code from 300 to 699".into())
}

fn transport(text: &str) -> Result<Transport, String> {
    Transport::named(text.as_bytes()).ok_or_else(|| "write udp or tcp".into())
}

fn exit(outcome: Result<ExitCode, Failure>) -> ExitCode {
    outcome.unwrap_or_else(|Failure(line, code)| {
        eprintln!("error: {line}");
        ExitCode::from(code)
    })
}

/// Who is nobody in particular.
const NOBODY: Identity = Identity { auth: None, local: None, register: None };

/// The command `uas`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn uas(seed: sip_core::Seed, run: Run<Enrolling>) -> ExitCode {
    let args: UasArgs = parse();
    exit((|| {
        if args.cores.is_some() {
            return Err(not_built("--cores"));
        }
        // What it registers is what it is asked from first.
        let mut listen: Vec<Target> = args.identity.local.into_iter().collect();
        listen.extend(args.listen.iter().filter(|target| Some(**target) != args.identity.local));
        built(listen.iter().map(|target| target.transport))?;
        let register = args.identity.enrolment()?;
        let login = args.identity.auth.clone().filter(|_| register.is_none());
        let ring = Duration::from_millis(args.ring);
        let agent =
            Uas::new(UasOptions { ring, answer: args.answer, login, key: nonce_key(&seed), register });
        let machine = args.identity.machine(seed, "uas", "localhost", Uas::configure)?;
        let registrar = args.identity.register.clone().unwrap_or_default();
        let (machine, Enrolling { agent, .. }) = run(machine, Enrolling { agent, registrar }, &listen, true)
            .map_err(|error| Failure(error.to_string(), 1))?;
        println!("{}", agent.report(&machine));
        Ok(ExitCode::SUCCESS)
    })())
}

/// The command `uac`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn uac(seed: sip_core::Seed, run: Run<Watched>) -> ExitCode {
    let args: UacArgs = parse();
    exit((|| {
        let (uri, route) = towards(&args.target, args.transport)?;
        let local = args.identity.local.unwrap_or(route);
        built([local.transport].into_iter())?;
        let expect = match (args.expect, args.cancel_after) {
            (Some(status), _) => status,
            (None, Some(_)) => Status::REQUEST_TERMINATED,
            (None, None) => Status::OK,
        };
        let agent = Uac::new(UacOptions {
            uri,
            calls: args.calls,
            rate: args.rate,
            hold: Duration::from_millis(args.hold),
            cancel_after: args.cancel_after.map(Duration::from_millis),
            expect,
            within: match args.refer {
                Some(uri) => Within::Refer(uri),
                None if args.reinvite => Within::Hold,
                None => Within::Nothing,
            },
            subscribe: args.subscribe,
            register: args.identity.enrolment()?,
        });
        let host = local.addr.ip().to_string();
        let machine = args.identity.machine(seed, "uac", &host, |_| ())?;
        let (machine, Watched { agent, progress }) =
            run(machine, Watched::new(agent, args.calls), &[local], false)
                .map_err(|error| Failure(error.to_string(), 1))?;
        progress.finish_and_clear();
        if agent.was_refused() {
            let registrar = args.identity.register.unwrap_or_default();
            return Err(Failure(
                format!("{registrar} does not register this agent: check --auth and the URI"),
                1,
            ));
        }
        println!("{}", agent.report(&machine));
        if agent.has_failed() || agent.done() < args.calls {
            let mut line = format!("{} of {} calls completed", agent.completed(), args.calls);
            for (status, count) in agent.unexpected() {
                line += &format!("; {count} ended with {status}");
                if matches!(status, Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED) {
                    line += match args.identity.auth {
                        Some(_) => ": check --auth",
                        None => ": give --auth",
                    };
                }
            }
            return Err(Failure(line, 1));
        }
        Ok(ExitCode::SUCCESS)
    })())
}

/// Takes a line.
type Lines = Box<dyn FnMut(&str)>;
/// What a [`Forwarder`] tells.
type Tell = Box<dyn FnMut(Instant, &Report<'_>)>;

/// The command `proxy`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn proxy(seed: sip_core::Seed, run: Run<Forwarder<Tell>, Proxy>) -> ExitCode {
    let args: ProxyArgs = parse();
    exit((|| {
        built(args.listen.iter().map(|target| target.transport))?;
        let tell: Tell = match &args.events {
            Some(path) => {
                let mut line = lines(path).map_err(|error| Failure(format!("{path}: {error}"), 1))?;
                Box::new(move |now, report| line(&json(now, report)))
            }
            None => Box::new(|_, _| ()),
        };
        let options = ForwarderOptions { targets: args.to, serial: args.fork == Fork::Serial };
        let config =
            proxy::Config { record_route: args.record_route, ..proxy::Config::new(Config::new(seed)) };
        let (machine, agent) = run(Proxy::new(config), Forwarder::new(options, tell), &args.listen, true)
            .map_err(|error| Failure(error.to_string(), 1))?;
        println!("{}", agent.report(&machine));
        Ok(ExitCode::SUCCESS)
    })())
}

/// The command `b2bua`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn b2bua(seed: sip_core::Seed, run: Run<B2bua>) -> ExitCode {
    let args: B2buaArgs = parse();
    exit((|| {
        built(args.listen.iter().map(|target| target.transport))?;
        let identity = Identity { auth: args.auth, ..NOBODY };
        let machine = identity.machine(seed, "b2bua", "localhost", B2bua::configure)?;
        let options = B2buaOptions { target: args.to, replaces: args.replaces };
        let (machine, agent) = run(machine, B2bua::new(options), &args.listen, true)
            .map_err(|error| Failure(error.to_string(), 1))?;
        println!("{}", agent.report(&machine));
        Ok(ExitCode::SUCCESS)
    })())
}

/// The command `registrar`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn registrar(seed: sip_core::Seed, run: Run<Home, Proxy>) -> ExitCode {
    let args: RegistrarArgs = parse();
    exit((|| {
        built(args.listen.iter().map(|target| target.transport))?;
        let options = HomeOptions { logins: args.auth, key: nonce_key(&seed), domains: args.domain };
        let mut config = proxy::Config::new(Config::new(seed));
        Home::configure(&mut config, &options);
        let (machine, agent) = run(Proxy::new(config), Home::new(&options), &args.listen, true)
            .map_err(|error| Failure(error.to_string(), 1))?;
        println!("{}", agent.report(&machine));
        Ok(ExitCode::SUCCESS)
    })())
}

/// Where lines go: to the end of a file, or to a socket that somebody reads. What can't be written is lost: a proxy does not wait for its log.
fn lines(path: &str) -> io::Result<Lines> {
    use std::io::Write;
    let mut out: Box<dyn Write> = match path.strip_prefix("unix:") {
        Some(path) => Box::new(std::os::unix::net::UnixStream::connect(path)?),
        None => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    Ok(Box::new(move |line| {
        let _ = out.write_all(line.as_bytes());
    }))
}

/// Where a request came from: an address, or a connection.
fn origin(source: &Source) -> String {
    match source {
        Source::Datagram { remote, .. } => format!("udp:{remote}"),
        Source::Flow(flow) => format!("flow:{}", flow.to_bits()),
    }
}

/// A report as a line of JSON.
fn json(now: Instant, report: &Report<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let time = now.as_micros();
    let line = match report {
        Report::Request { context, request, source } => serde_json::json!({
            "event": "request", "time_us": time, "context": context.to_bits(), "source": origin(source),
            "method": request.method().to_string(), "uri": text(request.uri_bytes()),
            "from": text(request.value_of("From").unwrap_or_default()),
            "to": text(request.value_of("To").unwrap_or_default()),
            "call_id": text(request.call_id()), "cseq": request.cseq().number,
        }),
        Report::Branch { context, branch, target, status, origin } => serde_json::json!({
            "event": "branch", "time_us": time, "context": context.to_bits(), "branch": branch.to_bits(),
            "target": target, "status": status.code(), "received": *origin == Origin::Received,
        }),
        Report::Final { context, status } => serde_json::json!({
            "event": "final", "time_us": time, "context": context.to_bits(), "status": status.code(),
        }),
        _ => return String::new(),
    };
    format!("{line}\n")
}

/// The command `ping`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn ping(seed: sip_core::Seed, run: Run<Ping>) -> ExitCode {
    let args: PingArgs = parse();
    exit((|| {
        let (uri, local) = towards(&args.uri, None)?;
        let host = local.addr.ip().to_string();
        let machine = NOBODY.machine(seed, "ping", &host, |_| ())?;
        let (_, agent) =
            run(machine, Ping::new(&uri), &[local], false).map_err(|error| Failure(error.to_string(), 1))?;
        match agent.outcome() {
            Some(Ok(status)) if status.is_success() => {
                println!("{status}");
                Ok(ExitCode::SUCCESS)
            }
            Some(Ok(status)) => Err(Failure(format!("{uri} answers {status}"), 1)),
            Some(Err(PingError::Ended(Cause::Timeout))) => Err(Failure(format!("{uri} does not answer"), 1)),
            Some(Err(PingError::Ended(_))) => Err(Failure(format!("{uri} can't be reached"), 1)),
            Some(Err(PingError::Misuse(misuse))) => Err(Failure(misuse.to_string(), 1)),
            None => Err(Failure("stopped before an answer came".into(), 1)),
        }
    })())
}

/// What a [`Sender`] tells.
type TellSent = Box<dyn FnMut(&Sent<'_>)>;

/// The command `send`.
#[allow(dead_code, reason = "each example uses one of these")]
pub(crate) fn send(seed: sip_core::Seed, run: RunFed<Endpoint, Sender<TellSent>>) -> ExitCode {
    let args: SendArgs = parse();
    exit((|| {
        built(args.local.iter().map(|target| target.transport))?;
        let input: Input = match &args.fifo {
            Some(path) if std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_fifo()) => {
                return Err(Failure(format!("{}: not a named pipe; make it with mkfifo", path.display()), 1));
            }
            // Opened for writing too: it does not end when a writer closes it.
            Some(path) => {
                Box::new(OpenOptions::new().read(true).write(true).open(path).map_err(|error| {
                    Failure(format!("{}: {error}; make it with mkfifo", path.display()), 1)
                })?)
            }
            None => Box::new(io::stdin()),
        };
        let local = if args.local.is_empty() { anywhere() } else { args.local };
        let reports = Reports::new();
        let tell: TellSent = Box::new(move |sent| reports.tell(sent));
        let agent = Sender::new("<sip:send@localhost>", nonce_key(&seed), tell);
        let (_, agent) =
            run(Endpoint::new(Config::new(seed)), agent, &local, input, |machine, agent, now, piece| {
                match piece {
                    Some(piece) => agent.feed(now, machine, piece),
                    None => agent.end(now, machine),
                }
            })
            .map_err(|error| Failure(error.to_string(), 1))?;
        let (succeeded, all) = agent.succeeded();
        // Who serves a pipe is not to blame for what comes out of it.
        if args.fifo.is_some() {
            return Ok(ExitCode::SUCCESS);
        }
        if succeeded < all {
            return Err(Failure(format!("{} of {all} requests had no 2xx", all - succeeded), 1));
        }
        if !agent.is_done() {
            return Err(Failure("stopped before all was answered".into(), 1));
        }
        Ok(ExitCode::SUCCESS)
    })())
}

/// A socket of each family and transport that this host has.
fn anywhere() -> Vec<Target> {
    let v6 = UdpSocket::bind("[::1]:0").is_ok();
    let families = ["0.0.0.0:0", "[::]:0"].into_iter().take(1 + usize::from(v6));
    let addrs = families.filter_map(|addr| addr.parse().ok());
    addrs
        .flat_map(|addr| [Transport::Udp, Transport::Tcp].map(|transport| Target { transport, addr }))
        .collect()
}

/// Outcomes on their way to files. Each has a thread: a file may be a pipe that nobody reads yet.
struct Reports {
    /// Every thread has a clone, until it is done.
    writing: Option<mpsc::Sender<()>>,
    done: mpsc::Receiver<()>,
}

impl Reports {
    /// How long the last ones may take.
    const PATIENCE: Duration = Duration::from_secs(2);

    fn new() -> Self {
        let (writing, done) = mpsc::channel();
        Self { writing: Some(writing), done }
    }

    fn tell(&self, sent: &Sent<'_>) {
        let Sent { file, method, uri, code, reason } = *sent;
        if file.is_empty() {
            println!("{code} {reason}\t{method} {uri}");
            return;
        }
        let (path, line, writing) = (PathBuf::from(file), format!("{code} {reason}\n"), self.writing.clone());
        std::thread::spawn(move || {
            if let Err(error) = std::fs::write(&path, &line) {
                eprint!("{}: {error}; it was {line}", path.display());
            }
            drop(writing);
        });
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.writing = None;
        // Ends when nobody is left who could send.
        let _ = self.done.recv_timeout(Self::PATIENCE);
    }
}

/// A key for nonces, from the seed but not the one that branches are made with.
fn nonce_key(seed: &sip_core::Seed) -> [u8; 32] {
    seed.map(|byte| byte.rotate_left(3) ^ 0x5a)
}

fn built(transports: impl Iterator<Item = Transport>) -> Result<(), Failure> {
    for transport in transports {
        if !matches!(transport, Transport::Udp | Transport::Tcp) {
            return Err(Failure(format!("the transport {transport} is not built yet"), 2));
        }
    }
    Ok(())
}

/// The URI with its transport, and the local address that the system would reach it from.
fn towards(uri: &str, transport: Option<Transport>) -> Result<(String, Target), Failure> {
    let parsed = sip_core::uri::Uri::parse(uri.as_bytes());
    let sip = parsed.as_ref().ok().and_then(|uri| uri.as_sip());
    let sip = sip.ok_or_else(|| Failure(format!("not a SIP URI: {uri}; write sip:127.0.0.1:5070"), 2))?;
    let named = sip.params.get("transport").map(|token| {
        Transport::named(token).ok_or_else(|| Failure("the URI names an unknown transport".into(), 2))
    });
    let (uri, transport) = match (named.transpose()?, transport) {
        (Some(named), _) => (uri.into(), named),
        (None, Some(Transport::Udp) | None) => {
            (uri.into(), if sip.secure { Transport::Tls } else { Transport::Udp })
        }
        (None, Some(transport)) => (format!("{uri};transport={transport}"), transport),
    };
    built([transport].into_iter())?;
    let host = String::from_utf8_lossy(sip.host).into_owned();
    let port = sip.port.map_or(transport.default_port(), core::num::NonZero::get);
    let local = (|| -> io::Result<_> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let peer = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Connecting a datagram socket sends nothing; it asks the system for the way.
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        socket.local_addr()
    })();
    let mut addr = local.map_err(|error| Failure(format!("no way to {host}: {error}"), 1))?;
    addr.set_port(0);
    Ok((uri, Target { transport, addr }))
}

/// A [`Uas`] that says on stderr what becomes of its registration.
pub(crate) struct Enrolling {
    agent: Uas,
    registrar: String,
}

impl TransactionUser<UserAgent> for Enrolling {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: <UserAgent as Machine>::Event<'_>) {
        let registrar = &self.registrar;
        match &event {
            ua::Event::RegistrationRefused { response, .. } => {
                eprintln!("{registrar} answers {}: check --auth and the URI", response.status());
            }
            ua::Event::RegistrationEnded { cause: Cause::Timeout | Cause::TransportError, .. } => {
                eprintln!("{registrar} does not answer; it is asked again");
            }
            _ => {}
        }
        self.agent.event(now, machine, event);
    }

    fn deadline(&self) -> Option<Instant> {
        self.agent.deadline()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        self.agent.advance(now, machine);
    }

    fn is_done(&self) -> bool {
        self.agent.is_done()
    }

    fn stop(&mut self, now: Instant, machine: &mut UserAgent) -> bool {
        self.agent.stop(now, machine)
    }
}

/// A [`Uac`] whose progress is shown on stderr, if that is a terminal.
pub(crate) struct Watched {
    agent: Uac,
    progress: ProgressBar,
}

impl Watched {
    fn new(agent: Uac, calls: u64) -> Self {
        let style = ProgressStyle::with_template("{pos}/{len} calls {wide_bar} {elapsed}");
        let progress =
            ProgressBar::new(calls).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { agent, progress }
    }
}

impl TransactionUser<UserAgent> for Watched {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: <UserAgent as Machine>::Event<'_>) {
        self.agent.event(now, machine, event);
        self.progress.set_position(self.agent.done());
    }

    fn deadline(&self) -> Option<Instant> {
        self.agent.deadline()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        self.agent.advance(now, machine);
    }

    fn stop(&mut self, now: Instant, machine: &mut UserAgent) -> bool {
        self.agent.stop(now, machine)
    }

    fn is_done(&self) -> bool {
        self.agent.is_done()
    }
}
