//! How long a session lasts without a refresh, and who refreshes it (RFC 4028).

use crate::headers::{MinSe, Refresher, SessionExpires, Supported};
use crate::message::Message;
use core::time::Duration;

/// What this side wants of session timers. Refreshing at the peer's wish it does in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The interval to ask for; `None`: none.
    pub expires: Option<Duration>,
    /// The least interval to take; not below 90 s (§5).
    pub min: Duration,
    /// Who is to refresh, where this side may say; `None`: whoever sends the INVITE.
    pub refresher: Option<Refresher>,
}

impl SessionTimer {
    /// Nothing is asked for, and what is legal is taken.
    pub const DEFAULT: Self = Self { expires: None, min: MIN, refresher: None };

    pub(crate) fn min(&self) -> u32 {
        secs(self.min.max(MIN))
    }
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// RFC 4028 §5
const MIN: Duration = Duration::from_secs(90);

fn secs(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Seconds
    pub(crate) interval: u32,
    /// Whether this side refreshes.
    pub(crate) ours: bool,
}

impl Terms {
    /// When a refresh is sent, counted from the last one (§7.2, §10).
    pub(crate) const fn refresh_after(self) -> Duration {
        Duration::from_secs(self.interval as u64 / 2)
    }

    /// When the session is over for who waits for a refresh (§10): the lesser of 32 s and a third before the end.
    pub(crate) const fn over_after(self) -> Duration {
        let third = self.interval as u64 / 3;
        Duration::from_secs(self.interval as u64 - if third < 32 { third } else { 32 })
    }
}

/// §5: no interval is shorter.
const LEAST: u32 = 90;

/// The terms that a server answers an INVITE or UPDATE with (§9), and whether its response must require the extension: it does if the
/// client is to refresh.
///
/// # Errors
/// The interval is too small for this side: 422, with the Min-SE that is returned.
pub(crate) fn answer(request: &Message<'_>, wanted: &SessionTimer) -> Result<Option<(Terms, bool)>, u32> {
    let supported = request.all::<Supported<'_>>().map_while(Result::ok).any(|tag| tag.is("timer"));
    let asked = request.get::<SessionExpires<'_>>().ok().flatten();
    let floor = request.get::<MinSe<'_>>().ok().flatten().map_or(0, |min| min.seconds);
    let Some(asked) = asked else {
        let Some(expires) = wanted.expires else { return Ok(None) };
        let ours = !supported || wanted.refresher == Some(Refresher::Uas);
        let interval = secs(expires).max(wanted.min()).max(floor);
        return Ok(Some((Terms { interval, ours }, supported && !ours)));
    };
    if asked.seconds < wanted.min() {
        // §6: one that does not know the extension could make nothing of a 422.
        if supported {
            return Err(wanted.min());
        }
        // §9: nor raise it, but for what no interval may be.
        return Ok(Some((Terms { interval: asked.seconds.max(LEAST), ours: true }, false)));
    }
    let interval = wanted.expires.map_or(asked.seconds, |own| secs(own).min(asked.seconds).max(wanted.min()));
    let ours = match asked.refresher() {
        _ if !supported => true,
        Some(refresher) => refresher == Refresher::Uas,
        None => wanted.refresher == Some(Refresher::Uas),
    };
    Ok(Some((Terms { interval: interval.max(floor), ours }, supported && !ours)))
}

/// The terms that a 2xx brings to the client (§7.2). Who wanted a timer and hears of none has none.
pub(crate) fn agreed(response: &Message<'_>) -> Option<Terms> {
    let expires = response.get::<SessionExpires<'_>>().ok().flatten()?;
    Some(Terms { interval: expires.seconds.max(LEAST), ours: expires.refresher() != Some(Refresher::Uas) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn message(start: &str, headers: &str) -> Message<'static> {
        let text = std::format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.as_bytes(), &Limits::DEFAULT).unwrap().into_owned()
    }

    fn answered(headers: &str, wanted: SessionTimer) -> Result<Option<(u32, bool, bool)>, u32> {
        let terms = answer(&message("INVITE sip:a@h SIP/2.0", headers), &wanted)?;
        Ok(terms.map(|(terms, require)| (terms.interval, terms.ours, require)))
    }

    /// RFC 4028, table 2 and §9
    #[test]
    fn the_server_decides() {
        let any = SessionTimer::DEFAULT;
        let hour = SessionTimer { expires: Some(Duration::from_secs(3_600)), ..any };
        assert_eq!(answered("", any), Ok(None));
        assert_eq!(answered("", hour), Ok(Some((3_600, true, false))));
        assert_eq!(answered("Supported: timer\r\n", hour), Ok(Some((3_600, false, true))));
        assert_eq!(answered("Supported: timer\r\nMin-SE: 4000\r\n", hour), Ok(Some((4_000, false, true))));
        let asked = "Supported: timer\r\nSession-Expires: 1800";
        assert_eq!(answered(&std::format!("{asked}\r\n"), hour), Ok(Some((1_800, false, true))));
        assert_eq!(answered(&std::format!("{asked};refresher=uas\r\n"), any), Ok(Some((1_800, true, false))));
        assert_eq!(answered(&std::format!("{asked};refresher=uac\r\n"), any), Ok(Some((1_800, false, true))));
        // A proxy asked; the client knows nothing of it.
        assert_eq!(answered("Session-Expires: 1800\r\n", any), Ok(Some((1_800, true, false))));
        assert_eq!(answered("Session-Expires: 60\r\n", any), Ok(Some((90, true, false))));
        assert_eq!(answered("k: timer\r\nx: 89\r\n", any), Err(90));
        let min = SessionTimer { min: Duration::from_secs(200), ..any };
        assert_eq!(answered("k: timer\r\nx: 199\r\n", min), Err(200));
        // No lower than the proxies on the way want it, though this side would.
        let short = SessionTimer { expires: Some(Duration::from_secs(90)), ..any };
        assert_eq!(answered("k: timer\r\nx: 1800\r\nMin-SE: 300\r\n", short), Ok(Some((300, false, true))));
    }

    /// §10
    #[test]
    fn when_to_refresh_and_when_to_end() {
        let terms = |interval| Terms { interval, ours: true };
        assert_eq!(
            (terms(1_800).refresh_after().as_secs(), terms(1_800).over_after().as_secs()),
            (900, 1_768)
        );
        assert_eq!((terms(90).refresh_after().as_secs(), terms(90).over_after().as_secs()), (45, 60));
    }

    #[test]
    fn what_the_client_hears() {
        let heard = |headers| agreed(&message("SIP/2.0 200 OK", headers));
        assert_eq!(heard(""), None);
        assert_eq!(heard("Session-Expires: 1800\r\n"), Some(Terms { interval: 1_800, ours: true }));
        assert_eq!(heard("x: 1800;refresher=uas\r\n"), Some(Terms { interval: 1_800, ours: false }));
    }
}
