//! Requests of the user's that are neither INVITE nor BYE.

use super::machine::Meaning;
use super::{NewRequest, UserAgent, Work};
use crate::Instant;
use crate::dialog::{ends, token};
use crate::endpoint::{Misuse, Txn};
use crate::handle::{ClientTxn, DialogId};
use crate::headers::Name;
use crate::message::{Content, Message, Method, Status, lex};
use crate::transaction::ClientRequest;
use crate::uri::Uri;

impl UserAgent {
    /// Sends a request outside any dialog: OPTIONS, MESSAGE …
    ///
    /// # Errors
    /// [`Misuse::BadMethod`] for INVITE, ACK, CANCEL and BYE; [`Misuse::BadUri`], [`Misuse::BadContent`],
    /// [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn request(&mut self, now: Instant, request: &NewRequest<'_>) -> Result<ClientTxn, Misuse> {
        check(request.method, &request.content)?;
        Uri::parse(request.uri.as_bytes()).map_err(|_| Misuse::BadUri)?;
        self.enter(now);
        let (tag, call_id) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let (identity, product) = (&self.config.identity, &self.config.product);
        let uri = request.uri.as_bytes();
        let txn = self.layer.request(
            &ClientRequest {
                method: request.method,
                uri,
                towards: uri,
                target: request.target,
                timers: request.timers,
                user: 0,
            },
            |writer| {
                writer
                    .field(Name::From, &[identity.as_bytes(), b";tag=", &tag])
                    .field(Name::To, &[b"<", uri, b">"])
                    .field(Name::CallId, &[&call_id])
                    .cseq(1, request.method)
                    .number(Name::MaxForwards, 70);
                if !product.is_empty() {
                    writer.field(Name::UserAgent, &[product.as_bytes()]);
                }
                writer.finish(&request.content);
            },
        )?;
        self.assign(Txn::Client(txn), Work::Request { dialog: None, user: request.user });
        self.leave();
        Ok(txn)
    }

    /// Sends a request inside a dialog (RFC 3261 §12.2.1): OPTIONS, INFO …
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`Misuse::Gone`].
    pub fn request_in(
        &mut self,
        now: Instant,
        dialog: DialogId,
        method: Method<'_>,
        user: u64,
        content: &Content<'_>,
    ) -> Result<ClientTxn, Misuse> {
        check(method, content)?;
        self.enter(now);
        self.session(dialog)?;
        let session = self.sessions.get_mut(dialog.0).ok_or(Misuse::Gone)?;
        let cseq = session.dialog.next_cseq();
        let (uri, towards) = session.dialog.uris();
        let product = &self.config.product;
        let request = ClientRequest { method, uri, towards, target: None, timers: None, user: 0 };
        let txn = self.layer.request(&request, |writer| {
            session.dialog.write(writer, method, cseq);
            if !product.is_empty() {
                writer.field(Name::UserAgent, &[product.as_bytes()]);
            }
            writer.finish(content);
        })?;
        self.assign(Txn::Client(txn), Work::Request { dialog: Some(dialog), user });
        self.leave();
        Ok(txn)
    }

    pub(super) fn on_response(
        &mut self,
        txn: ClientTxn,
        token: u64,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        // RFC 3261 §8.1.3.3: a response with more than one Via is not for this side.
        if response.values(Name::Via).count() > 1 {
            return None;
        }
        match self.work(token)? {
            Work::Invite(invitation) => self.on_invite_response(invitation, response),
            Work::Bye(dialog) => {
                if response.status_code() >= 200 {
                    self.end_session(dialog.0, super::Reason::LocalBye);
                }
                None
            }
            Work::Request { dialog, user } => {
                if let (Some(dialog), Some(status)) = (dialog, Status::new(response.status_code())) {
                    self.on_failure(dialog, ends(response.cseq().method, status));
                }
                Some(Meaning::Response { txn, user })
            }
            Work::Incoming(_) => None,
        }
    }
}

fn check(method: Method<'_>, content: &Content<'_>) -> Result<(), Misuse> {
    if matches!(method, Method::Invite | Method::Ack | Method::Cancel | Method::Bye)
        || !lex::is_token(method.as_bytes())
    {
        return Err(Misuse::BadMethod);
    }
    content.check().map_err(|_| Misuse::BadContent)
}
