//! What a dialog is, for who looks at it.

use super::UserAgent;
use super::record::Phase;
use crate::endpoint::Misuse;
use crate::handle::DialogId;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A dialog as it is now (RFC 3261 §12).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialogView<'a> {
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// The tag of this side.
    pub local_tag: &'a [u8],
    /// The tag of the peer; empty for one of RFC 2543.
    pub remote_tag: &'a [u8],
    /// The value of From in requests of this side.
    pub local: &'a [u8],
    /// The value of To in them.
    pub remote: &'a [u8],
    /// The URI that they go to, the Contact of the peer.
    pub target: &'a [u8],
    /// The proxies that they go through, nearest first, each as a value of Route.
    pub routes: &'a [Vec<u8>],
    /// The value of Contact in them: how the peer reaches this side.
    pub contact: &'a [u8],
    /// The number of the last one.
    pub local_cseq: u32,
    /// The number of the peer's last one; nothing before its first.
    pub remote_cseq: Option<u32>,
    /// Whether this side made the Call-ID.
    pub is_owner: bool,
    /// Where its session stands.
    pub session: SessionState,
    /// Whether the ACK for a 2xx of this side is still to come.
    pub awaits_ack: bool,
    /// Whether the peer takes reliable provisional responses (RFC 3262).
    pub knows_100rel: bool,
}

/// As it reads on the wire.
impl fmt::Debug for DialogView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        let routes: Vec<_> = self.routes.iter().map(|route| text(route)).collect();
        f.debug_struct("DialogView")
            .field("call_id", &text(self.call_id))
            .field("local", &text(self.local))
            .field("remote", &text(self.remote))
            .field("target", &text(self.target))
            .field("routes", &routes)
            .field("contact", &text(self.contact))
            .field("local_cseq", &self.local_cseq)
            .field("remote_cseq", &self.remote_cseq)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Where the session of a dialog stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// There is none, or none any more: subscriptions keep the dialog.
    None,
    /// The peer calls, and has no final response.
    Ringing,
    /// This side calls, and has a provisional response.
    Early,
    /// A 2xx was sent or received.
    Up,
    /// This side has sent its BYE, which is not answered.
    Terminating,
}

impl UserAgent {
    /// A dialog as it is now.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn view(&self, dialog: DialogId) -> Result<DialogView<'_>, Misuse> {
        let record = self.alive(dialog)?;
        let found = &record.dialog;
        let [call_id, local_tag, remote_tag, local, remote, target] = found.names.parts();
        Ok(DialogView {
            call_id,
            local_tag,
            remote_tag,
            local,
            remote,
            target,
            routes: found.routes.values(),
            contact: &record.contact,
            local_cseq: found.local_cseq,
            remote_cseq: found.remote_cseq,
            is_owner: found.owner,
            session: match record.session.phase {
                Phase::Over => SessionState::None,
                Phase::Ringing => SessionState::Ringing,
                Phase::Early => SessionState::Early,
                Phase::Up => SessionState::Up,
                Phase::Terminating => SessionState::Terminating,
            },
            awaits_ack: record.session.unacked.is_some(),
            knows_100rel: record.session.knows_100rel,
        })
    }
}
