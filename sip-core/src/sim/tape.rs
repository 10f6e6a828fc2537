//! The choice tape: everything that a run leaves to chance, or to whoever wants a certain run.
//!
//! A choice is asked for at a [`Site`] and has a number there. Zero is always the boring outcome: delivered, at once, prompt. So
//! a run is named by its few choices that are not zero, and taking one away moves no other.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// What happens to a datagram on a link.
    Fate,
    /// How much later a copy, or a datagram held back, arrives.
    Later,
    /// How long a datagram is under way, in sixteenths of the most.
    Delay,
    /// Whether a burst of losses begins, and how long it is.
    Burst,
    /// Which byte is damaged, and how.
    Damage,
    /// Whether the system takes what is sent.
    Send,
    /// How a stream is cut into segments.
    Cut,
    /// Whether a connection breaks before this segment.
    Reset,
    /// Whether a connection is opened.
    Connect,
    /// How late a deadline is noticed.
    Wake,
    /// Whether a machine is woken without need.
    Spurious,
    /// The speed of a machine's clock.
    Clock,
    /// What happens to a machine, or to its links, for some time.
    Episode,
    /// When that begins.
    When,
    /// How long it lasts.
    Length,
    /// What a transaction user does.
    User,
    /// What kind of call is made.
    Call,
    /// When it is made.
    Start,
    /// What a hostile peer sends.
    Forge,
    /// Which of the faults a run has at all, and how often.
    Rate,
    /// What a user does next, and when.
    Mood,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static [&'static str]); 21] = [
        (Self::Fate, "fate", &["deliver", "drop", "copy", "hold", "damage"]),
        (Self::Later, "later", &["100ms", "600ms", "2100ms", "6s", "20s", "40s"]),
        (Self::Delay, "delay", &[]),
        (Self::Burst, "burst", &["none", "2", "5", "12", "30"]),
        (Self::Damage, "damage", &[]),
        (Self::Send, "send", &["sent", "blocked", "unreachable", "full"]),
        (Self::Cut, "cut", &["whole", "halves", "sevens", "bytes", "joined"]),
        (Self::Reset, "reset", &["no", "yes"]),
        (Self::Connect, "connect", &["opened", "refused", "slow"]),
        (Self::Wake, "wake", &["prompt", "1ms", "100ms", "3s", "10s"]),
        (Self::Spurious, "spurious", &["no", "yes"]),
        (Self::Clock, "clock", &["1", "1/2", "2", "99/100", "101/100"]),
        (
            Self::Episode,
            "episode",
            &["none", "mute", "deaf", "apart", "crash", "reset", "rebind", "forward", "backward"],
        ),
        (Self::When, "when", &[]),
        (Self::Length, "length", &["100ms", "1s", "5s", "20s", "64s", "120s"]),
        (Self::User, "user", &["prompt", "slow", "never", "twice", "late", "busy", "silent"]),
        (
            Self::Call,
            "call",
            &["call", "cancelled", "cancelled at once", "busy", "options", "register", "glare"],
        ),
        (Self::Start, "start", &[]),
        (Self::Forge, "forge", &[]),
        (Self::Rate, "rate", &["off", "rare", "some", "much"]),
        (Self::Mood, "mood", &[]),
    ];

    /// How its outcomes are called, the boring one first; what has no name is written as its number.
    pub fn outcomes(self) -> &'static [&'static str] {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static [&'static str]) {
        Self::ALL.iter().find(|row| row.0 == self).map_or(("", &[]), |row| (row.1, row.2))
    }

    fn salt(self) -> u64 {
        Self::ALL.iter().position(|row| row.0 == self).unwrap_or_default() as u64
    }
}

/// Where a choice is made: of which kind, and on which link or at which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// What is chosen.
    pub kind: Kind,
    /// The machine, or the one that sends.
    pub from: u8,
    /// The one that receives; the same machine if it is no link.
    pub to: u8,
}

impl Site {
    /// A choice about a link.
    pub const fn link(kind: Kind, from: usize, to: usize) -> Self {
        Self { kind, from: from as u8, to: to as u8 }
    }

    /// A choice about a machine.
    pub const fn node(kind: Kind, node: usize) -> Self {
        Self::link(kind, node, node)
    }
}

/// One choice that was not the boring one, written as kind, place, number and outcome: `fate 0>1 #7 = drop` is the eighth datagram from
/// machine 0 to machine 1. [`Kind::outcomes`] has the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Choice {
    /// Where.
    pub site: Site,
    /// The how manieth there, from zero.
    pub nth: u32,
    /// What was chosen.
    pub value: u32,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, names) = self.site.kind.row();
        write!(f, "{kind} {}", self.site.from)?;
        if self.site.to != self.site.from {
            write!(f, ">{}", self.site.to)?;
        }
        match names.get(self.value as usize) {
            Some(name) => write!(f, " #{} = {name}", self.nth),
            None => write!(f, " #{} = {}", self.nth, self.value),
        }
    }
}

/// A list of choices is not written as one should be: `fate 0>1 #7 = drop; wake 1 #0 = 3s`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadChoice(pub String);

impl fmt::Display for BadChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no choice: {:?}; write them as in `fate 0>1 #7 = drop; wake 1 #0 = 3s`", self.0)?;
        let kind = self.0.split(' ').next().unwrap_or_default();
        match Kind::ALL.iter().find(|row| row.1 == kind) {
            Some((.., names)) if !names.is_empty() => write!(f, "; {kind} may be {}", names.join(", ")),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for BadChoice {}

impl core::str::FromStr for Choice {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let read = || {
            let (place, value) = text.split_once('=')?;
            let (place, nth) = place.split_once('#')?;
            let (kind, link) = place.trim().split_once(' ')?;
            let (kind, _, names) = Kind::ALL.iter().find(|row| row.1 == kind)?;
            let (from, to) = link.trim().split_once('>').unwrap_or((link.trim(), link.trim()));
            let value = value.trim();
            let value = match names.iter().position(|name| *name == value) {
                Some(value) => value as u32,
                None => value.parse().ok()?,
            };
            let site = Site { kind: *kind, from: from.parse().ok()?, to: to.parse().ok()? };
            Some(Self { site, nth: nth.trim().parse().ok()?, value })
        };
        read().ok_or_else(|| BadChoice(text.into()))
    }
}

/// Choices as one line: `; ` between them.
pub fn write_choices(choices: &[Choice]) -> String {
    let texts: Vec<String> = choices.iter().map(|choice| alloc::format!("{choice}")).collect();
    texts.join("; ")
}

/// Reads what [`write_choices`] wrote.
///
/// # Errors
/// [`BadChoice`] with the part that is none.
pub fn read_choices(text: &str) -> Result<Vec<Choice>, BadChoice> {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect()
}

/// Where choices come from.
#[derive(Clone, Debug)]
enum Source {
    Seed(u64),
    Bytes(Vec<u8>, usize),
    List(BTreeMap<(Site, u32), u32>),
}

/// A question that a run asked, and how many answers it had: what an enumerator goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where.
    pub site: Site,
    /// The how manieth there.
    pub nth: u32,
    /// Which answers the configuration allows, one bit each.
    pub allowed: u32,
}

/// The source of all choices of one run, and the record of them.
#[derive(Clone, Debug)]
pub struct Tape {
    source: Source,
    asked: BTreeMap<Site, u32>,
    made: Vec<Choice>,
    questions: Option<Vec<Question>>,
}

impl Tape {
    /// Choices at random, each from the seed, its site and its number there.
    pub const fn seed(seed: u64) -> Self {
        Self::new(Source::Seed(seed))
    }

    /// Choices from the bytes of a fuzzer; boring ones when they are used up.
    pub const fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(Source::Bytes(bytes, 0))
    }

    /// These choices and no other that is not boring.
    pub fn list(choices: &[Choice]) -> Self {
        let list = choices.iter().map(|choice| ((choice.site, choice.nth), choice.value)).collect();
        Self::new(Source::List(list))
    }

    const fn new(source: Source) -> Self {
        Self { source, asked: BTreeMap::new(), made: Vec::new(), questions: None }
    }

    /// Keeps the questions too: see [`questions`](Self::questions).
    pub fn with_questions(mut self) -> Self {
        self.questions = Some(Vec::new());
        self
    }

    /// Chooses one of as many outcomes as there are weights. What has no weight is not chosen, unless a list names it.
    pub fn choose(&mut self, site: Site, weights: &[u32]) -> u32 {
        let asked = self.asked.entry(site).or_default();
        let nth = *asked;
        *asked += 1;
        let value = match &mut self.source {
            Source::Seed(seed) => pick(mix(*seed, site, nth), weights),
            Source::Bytes(bytes, at) => {
                let byte = bytes.get(*at).copied().unwrap_or_default();
                *at += 1;
                let value = u32::from(byte).checked_rem(weights.len() as u32).unwrap_or_default();
                if weights.get(value as usize).is_some_and(|weight| *weight > 0) { value } else { 0 }
            }
            Source::List(list) => {
                let value = list.get(&(site, nth)).copied().unwrap_or_default();
                if (value as usize) < weights.len() { value } else { 0 }
            }
        };
        if let Some(questions) = &mut self.questions {
            let bits = weights.iter().take(32).enumerate().filter(|(_, weight)| **weight > 0);
            let allowed = bits.fold(0, |allowed, (at, _)| allowed | 1 << at);
            questions.push(Question { site, nth, allowed });
        }
        if value != 0 {
            self.made.push(Choice { site, nth, value });
        }
        value
    }

    /// Chooses a number below `below`, all alike.
    pub fn below(&mut self, site: Site, below: u32) -> u32 {
        const ALIKE: [u32; 256] = [1; 256];
        self.choose(site, ALIKE.get(..below as usize).unwrap_or(&ALIKE))
    }

    /// The choices so far that were not boring, in their order.
    pub fn choices(&self) -> &[Choice] {
        &self.made
    }

    /// All questions so far, if they are kept.
    pub fn questions(&self) -> &[Question] {
        self.questions.as_deref().unwrap_or_default()
    }
}

/// splitmix64 over seed, site and number.
fn mix(seed: u64, site: Site, nth: u32) -> u64 {
    let place =
        site.kind.salt() << 48 | u64::from(site.from) << 40 | u64::from(site.to) << 32 | u64::from(nth);
    let mut value = seed ^ step(place);
    value = step(value);
    step(value)
}

fn step(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn pick(random: u64, weights: &[u32]) -> u32 {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let Some(mut rest) = random.checked_rem(total) else { return 0 };
    for (at, weight) in weights.iter().enumerate() {
        match rest.checked_sub(u64::from(*weight)) {
            Some(less) => rest = less,
            None => return at as u32,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SITE: Site = Site::link(Kind::Fate, 0, 1);

    #[test]
    fn an_outcome_that_is_none_is_told_the_others() {
        let error = read_choices("fate 0>1 #0 = drop; later 0>1 #0 = 21s").unwrap_err();
        assert_eq!(
            alloc::format!("{error}"),
            "no choice: \"later 0>1 #0 = 21s\"; write them as in `fate 0>1 #7 = drop; wake 1 #0 = 3s`; \
             later may be 100ms, 600ms, 2100ms, 6s, 20s, 40s"
        );
    }

    #[test]
    fn taking_a_choice_away_moves_no_other() {
        let weights = [1, 1, 1, 1, 1];
        let mut all = Tape::seed(7);
        (0..100).for_each(|_| {
            all.choose(SITE, &weights);
            all.choose(Site::node(Kind::Wake, 1), &weights);
        });
        let mut fewer = all.choices().to_vec();
        fewer.remove(3);
        let mut again = Tape::list(&fewer);
        (0..100).for_each(|_| {
            again.choose(SITE, &weights);
            again.choose(Site::node(Kind::Wake, 1), &weights);
        });
        assert_eq!(again.choices(), fewer);
        assert!(all.choices().len() > 100);
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let choices = [
            Choice { site: SITE, nth: 7, value: 1 },
            Choice { site: Site::node(Kind::Wake, 1), nth: 0, value: 3 },
            Choice { site: Site::link(Kind::Delay, 1, 0), nth: 2, value: 9 },
            Choice { site: Site::node(Kind::Call, 0), nth: 2, value: 2 },
        ];
        let text = write_choices(&choices);
        assert_eq!(
            text,
            "fate 0>1 #7 = drop; wake 1 #0 = 3s; delay 1>0 #2 = 9; call 0 #2 = cancelled at once"
        );
        assert_eq!(read_choices(&text).unwrap(), choices);
        assert!(read_choices("fate 0>1 #7 = vanish").unwrap_err().to_string().contains("write them as"));
    }

    use alloc::string::ToString;

    #[test]
    fn what_has_no_weight_is_not_chosen() {
        let mut tape = Tape::seed(1);
        assert!((0..100).all(|_| tape.choose(SITE, &[1, 0, 0]) == 0));
        assert!((0..100).any(|_| tape.choose(SITE, &[1, 0, 1]) == 2));
        let mut bytes = Tape::bytes(vec![1, 2, 2]).with_questions();
        assert_eq!([0; 4].map(|_| bytes.choose(SITE, &[1, 0, 1])), [0, 2, 2, 0]);
        assert_eq!(bytes.questions()[1], Question { site: SITE, nth: 1, allowed: 0b101 });
    }
}
