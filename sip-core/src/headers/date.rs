//! Date and Timestamp (RFC 3261 §20.17, §20.38).

use super::shapes::debug;
use super::{Header, Name, value};
use crate::message::Error;
use crate::message::lex::{self, Lexed};
use alloc::vec::Vec;

const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// When a message was sent first, in GMT. The core reads no clock: it neither writes nor judges it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// 0 is Monday.
    pub weekday: u8,
    /// 1 to 31
    pub day: u8,
    /// 1 to 12
    pub month: u8,
    /// Four digits.
    pub year: u16,
    /// 0 to 23
    pub hour: u8,
    /// 0 to 59
    pub minute: u8,
    /// 0 to 60: a minute may have a leap second.
    pub second: u8,
}

impl Date {
    /// `wkday "," SP 2DIGIT SP month SP 4DIGIT SP time SP "GMT"`; blanks may be more, and a day may have one digit.
    fn lex(input: &[u8]) -> Lexed<'_, Self> {
        let (rest, weekday) = name(input, &DAYS)?;
        let (rest, ()) = lex::separator(b',')(rest)?;
        let (rest, day) = part(rest, 1, 31)?;
        let (rest, month) = name(lex::skip(rest), &MONTHS)?;
        let (rest, year) = lex::number(lex::skip(rest))?;
        let (rest, hour) = part(lex::skip(rest), 0, 23)?;
        let (rest, ()) = lex::byte(b':')(rest)?;
        let (rest, minute) = part(rest, 0, 59)?;
        let (rest, ()) = lex::byte(b':')(rest)?;
        let (rest, second) = part(rest, 0, 60)?;
        let (end, zone) = lex::token(lex::skip(rest))?;
        if !zone.eq_ignore_ascii_case(b"GMT") || year > 9_999 {
            return lex::fail(rest);
        }
        Ok((end, Self { weekday, day, month: month + 1, year, hour, minute, second }))
    }
}

fn name<'b>(input: &'b [u8], names: &[&[u8]]) -> Lexed<'b, u8> {
    let (rest, found) = lex::token(input)?;
    match names.iter().position(|name| name.eq_ignore_ascii_case(found)) {
        Some(at) => Ok((rest, at as u8)),
        None => lex::fail(input),
    }
}

fn part(input: &[u8], least: u8, most: u8) -> Lexed<'_, u8> {
    let (rest, found) = lex::number(input)?;
    if (least..=most).contains(&found) { Ok((rest, found)) } else { lex::fail(input) }
}

impl Header<'_> for Date {
    const NAME: Name = Name::Date;

    fn parse(input: &[u8]) -> Result<(Self, &[u8]), Error> {
        value(input, Self::lex)
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let two = |out: &mut Vec<u8>, part: u8| out.extend([b'0' + part / 10 % 10, b'0' + part % 10]);
        out.extend_from_slice(DAYS.get(self.weekday as usize).unwrap_or(&DAYS[0]));
        out.extend_from_slice(b", ");
        two(out, self.day);
        out.push(b' ');
        out.extend_from_slice(MONTHS.get((self.month as usize).wrapping_sub(1)).unwrap_or(&MONTHS[0]));
        out.push(b' ');
        two(out, (self.year / 100) as u8);
        two(out, (self.year % 100) as u8);
        for (before, part) in [(b' ', self.hour), (b':', self.minute), (b':', self.second)] {
            out.push(before);
            two(out, part);
        }
        out.extend_from_slice(b" GMT");
    }
}

/// When a request was sent, by the sender's own clock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp<'a> {
    /// Seconds, with a fraction or without, as they are written.
    pub time: &'a [u8],
    /// Seconds that the answer took; empty if it is not said.
    pub delay: &'a [u8],
}

impl<'a> Header<'a> for Timestamp<'a> {
    const NAME: Name = Name::Timestamp;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            let (rest, time) = lex::decimal(input)?;
            match lex::lws1(rest).and_then(|(rest, ())| lex::decimal(rest)) {
                Ok((rest, delay)) => Ok((rest, Self { time, delay })),
                Err(_) => Ok((rest, Self { time, delay: b"" })),
            }
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.time);
        if !self.delay.is_empty() {
            out.push(b' ');
            out.extend_from_slice(self.delay);
        }
    }
}

debug!(Date, Timestamp<'_>);
