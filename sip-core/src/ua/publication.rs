//! Publications of this side (RFC 3903 §4). No dialog has a part in them.

use super::record::OwnContent;
use super::requests::{Outside, check_stated};
use super::upkeep::{NewUpkeep, What};
use super::{NewPublication, UserAgent};
use crate::endpoint::Misuse;
use crate::handle::PublicationId;
use crate::headers::{Event as EventHeader, Header, SipETag};
use crate::message::{Content, Message, Method, is_text};
use crate::time::Instant;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What a publication has besides.
#[derive(Clone)]
pub(super) struct Publication {
    pub(super) event: String,
    /// What the compositor knows it by; empty before its first 200.
    pub(super) etag: String,
    /// The state that the compositor does not have yet.
    pub(super) unsaid: Option<OwnContent>,
    /// What is to stand in the PUBLISH that takes it back.
    pub(super) parting: OwnContent,
}

impl UserAgent {
    /// Publishes a state, and keeps it published: each 200 comes as [`Published`](super::Event::Published).
    ///
    /// # Errors
    /// [`Misuse::BadUri`]; [`Misuse::BadContent`], also for one without a body; [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn publish(&mut self, now: Instant, new: &NewPublication<'_>) -> Result<PublicationId, Misuse> {
        let event_is_sound = is_text(new.event) && EventHeader::whole(new.event.as_bytes()).is_ok();
        check_stated(&new.content)?;
        if !event_is_sound || new.content.body.is_empty() {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let unsaid = Some(OwnContent::of(&new.content));
        let (event, parting) = (new.event.into(), OwnContent::default());
        let publication = Publication { event, etag: String::new(), unsaid, parting };
        let NewPublication { uri, expires, target, timers, credentials, user, .. } = *new;
        let timers = timers.map(Arc::new);
        let upkeep = NewUpkeep { uri, expires, target, timers, credentials, user };
        let done = self.keep_up(What::Publication(publication), &upkeep);
        self.leave();
        done.map(PublicationId)
    }

    /// Publishes another state in place of the one before (§4.4). If that fails, the next refresh says it.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] while a PUBLISH is under way; [`Misuse::BadContent`], also for one without a body;
    /// [`Misuse::NoLocal`], [`Misuse::Full`].
    pub fn publish_change(
        &mut self,
        now: Instant,
        publication: PublicationId,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        check_stated(content)?;
        if content.body.is_empty() {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let found = self.publication_mut(publication)?;
        let before = found.unsaid.replace(OwnContent::of(content));
        let done = self.keep_up_now(publication.0);
        if done.is_err() {
            self.publication_mut(publication)?.unsaid = before;
        }
        self.leave();
        done
    }

    /// Takes the state back (§4.5); [`PublicationEnded`](super::Event::PublicationEnded) comes when that is done, or has failed. The headers stand in the
    /// PUBLISH that does it; it has no body.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if it is being taken back. With a PUBLISH under way it waits for that. [`Misuse::BadContent`], also for
    /// a body.
    pub fn unpublish(
        &mut self,
        now: Instant,
        publication: PublicationId,
        headers: &Content<'_>,
    ) -> Result<(), Misuse> {
        check_stated(headers)?;
        if !headers.body.is_empty() {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let found = self.publication_mut(publication)?;
        let before = core::mem::replace(&mut found.parting, OwnContent::of(headers));
        let done = self.let_go(publication.0);
        if let (Err(_), Ok(found)) = (&done, self.publication_mut(publication)) {
            found.parting = before;
        }
        self.leave();
        done
    }

    fn publication_mut(&mut self, publication: PublicationId) -> Result<&mut Publication, Misuse> {
        match self.upkeeps.get_mut(publication.0).map(|upkeep| &mut upkeep.what) {
            Some(What::Publication(found)) => Ok(found),
            _ => Err(Misuse::Gone),
        }
    }
}

impl Publication {
    /// Its PUBLISH. A refresh, and one that takes the state back, has no body (§4.1).
    pub(super) fn with<T>(&self, uri: &str, expires: &str, send: impl FnOnce(Outside<'_>) -> T) -> T {
        let mut extra = Vec::from([("Event", &*self.event), ("Expires", expires)]);
        if !self.etag.is_empty() {
            extra.push(("SIP-If-Match", &*self.etag));
        }
        let nothing = OwnContent::default();
        let content = match expires {
            "0" => &self.parting,
            _ => self.unsaid.as_ref().unwrap_or(&nothing),
        };
        content.with(|content| send(Outside { extra: &extra, ..Outside::new(Method::Publish, uri, content) }))
    }

    pub(super) fn learn(&mut self, response: &Message<'_>) {
        if let Ok(Some(etag)) = response.get::<SipETag<'_>>() {
            (self.etag, self.unsaid) = (String::from_utf8_lossy(etag.0).into_owned(), None);
        }
    }
}
