//! Requests of the user's that are neither INVITE nor BYE.

use super::machine::Meaning;
use super::{NewRequest, UserAgent, Work};
use crate::Instant;
use crate::dialog::{Ends, ends, token};
use crate::endpoint::Misuse;
use crate::handle::{ClientTxn, DialogId};
use crate::headers::{Address, Name};
use crate::message::{Content, Message, Method, Status, is_text, lex};
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
        if !is_text(&self.config.identity) || Address::whole(self.config.identity.as_bytes()).is_err() {
            return Err(Misuse::BadContent);
        }
        Uri::parse(request.uri.as_bytes()).map_err(|_| Misuse::BadUri)?;
        self.enter(now);
        let (tag, call_id) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let uri = request.uri.as_bytes();
        let token =
            self.enlist(Work::Request { dialog: None, user: request.user, on_timeout: Ends::Transaction });
        let (identity, product) = (&self.config.identity, &self.config.product);
        let txn = self.layer.request(
            &ClientRequest {
                method: request.method,
                uri,
                towards: uri,
                target: request.target,
                timers: request.timers,
                user: token,
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
        );
        self.leave_request(token, txn)
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
        // RFC 5057 §5.2: a timeout is as a 408.
        let on_timeout = ends(method, Status::REQUEST_TIMEOUT);
        let token = self.enlist(Work::Request { dialog: Some(dialog), user, on_timeout });
        let session = self.sessions.get_mut(dialog.0).ok_or(Misuse::Gone)?;
        let cseq = session.dialog.next_cseq();
        let (uri, towards) = session.dialog.uris();
        let product = &self.config.product;
        let request = ClientRequest { method, uri, towards, target: None, timers: None, user: token };
        let txn = self.layer.request(&request, |writer| {
            session.dialog.write(writer, method, cseq);
            if !product.is_empty() {
                writer.field(Name::UserAgent, &[product.as_bytes()]);
            }
            writer.finish(content);
        });
        self.leave_request(token, txn)
    }

    fn leave_request(&mut self, token: u64, txn: Result<ClientTxn, Misuse>) -> Result<ClientTxn, Misuse> {
        if txn.is_err() {
            self.unassign(token);
        }
        self.leave();
        txn
    }

    pub(super) fn on_response(
        &mut self,
        txn: ClientTxn,
        token: u64,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        match self.work(token)? {
            Work::Invite(invitation) => self.on_invite_response(invitation, response),
            Work::Bye(dialog) => {
                if response.status_code() >= 200 {
                    self.end_session(dialog.0, super::Reason::LocalBye);
                }
                None
            }
            Work::Request { dialog, user, .. } => {
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
