//! The words of a line.

use super::Held;
use crate::time::Instant;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

pub(in crate::sim) fn need<T>(value: Option<T>, what: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("{what} is missing or unknown"))
}

/// A transaction by its name.
pub(in crate::sim) fn named<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("no transaction is named {name}"))
}

/// All words are `key=value`, and the keys are known.
pub(in crate::sim) fn only(words: &[&str], keys: &[&str]) -> Held {
    for word in words {
        let known = word.split_once('=').is_some_and(|(key, value)| keys.contains(&key) && !value.is_empty());
        if !known {
            return Err(format!("{word} is none of {}", keys.join("=, ") + "="));
        }
    }
    Ok(())
}

/// The value of a key, if it is there, as a number.
pub(in crate::sim) fn number<T: core::str::FromStr>(words: &[&str], name: &str) -> Result<Option<T>, String> {
    match key(words, name) {
        Some(value) => value.parse().map(Some).map_err(|_| format!("{name}={value} is no such number")),
        None => Ok(None),
    }
}

/// A method: in capitals, so that a word that is misspelt is not taken for one.
pub(in crate::sim) fn is_method(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

pub(in crate::sim) fn key<'w>(words: &[&'w str], name: &str) -> Option<&'w str> {
    words.iter().find_map(|word| word.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

pub(in crate::sim) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let unit: u64 = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut micros = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut scale = unit;
    for digit in part.chars() {
        if scale < 10 {
            return None;
        }
        scale /= 10;
        micros += u64::from(digit.to_digit(10)?) * scale;
    }
    Some(Duration::from_micros(micros))
}

/// A time as it is written: a number of `us`, `ms`, `s`, `min` or `h`, seconds if none is named; at most a week.
pub(in crate::sim) fn time(text: &str) -> Result<Duration, String> {
    let time = duration(text).ok_or_else(|| format!("{text} is no time; write 500ms or 3.5s"))?;
    if time > Duration::from_secs(7 * 24 * 3_600) {
        Err(format!("{text} is more than a week"))
    } else {
        Ok(time)
    }
}

/// When a line is: at a time, after the line before, or with it.
pub(in crate::sim) fn instant(text: &str, now: Instant) -> Result<Instant, String> {
    if text == "." {
        return Ok(now);
    }
    let (from, text) = match text.strip_prefix('+') {
        Some(text) => (now, text),
        None => (Instant::ZERO, text),
    };
    let at = from + time(text)?;
    if at < now { Err("time runs backwards".into()) } else { Ok(at) }
}
