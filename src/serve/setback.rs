//! A statement that could not be served to its end: its client is told, and what went with the server is forgotten.

use std::sync::Arc;

use super::refusal::{Loss, Refusal};
use super::session::{End, Incoming, Session};
use super::state::{Follow, InsertId};
use crate::backend::ExchangeError;
use crate::route::Transaction;
use crate::sql::{Access, Judged};
use crate::topology::ServerId;

impl Session {
    pub(super) async fn refuse(&mut self, incoming: Incoming, refusal: Refusal) -> Result<(), End> {
        if let Refusal::Over(end) = refusal {
            return Err(end);
        }
        let snapshot = self.house.topology.load().clone();
        let mut packet = refusal.packet(&snapshot);
        let mut loss = None;
        if self.state.holds_connection() && self.held.is_none() {
            // The state went with a connection that could not be made ready.
            let pinned = !self.state.pins.is_empty();
            loss = Some(if pinned { Loss::PinnedState } else { Loss::Transaction });
            self.forget_lost_state();
            self.show_rest(None);
        }
        if let (Some(loss), Refusal::Settle(ExchangeError::Lost(error))) = (loss, refusal) {
            let server = self.info.seen().server.map(|id| Arc::clone(&snapshot.server(id).name));
            packet = loss.packet(server.as_deref().unwrap_or("unknown"), &error);
        }
        let sequence = self.skip_command(incoming).await?;
        self.write(&packet.payload(), sequence).await?;
        if loss == Some(Loss::PinnedState) { Err(End::StateLost) } else { Ok(()) }
    }

    /// What a server's loss in mid-statement means for the client.
    pub(super) fn loss(&self, judged: &Judged, answered: bool) -> Loss {
        let in_transaction = self.state.transaction != Transaction::None;
        if !self.state.pins.is_empty() {
            Loss::PinnedState
        } else if in_transaction && !judged.statement.may_commit() {
            Loss::Transaction
        } else if judged.statement.access == Access::Read && answered {
            Loss::HalfAnswered
        } else {
            Loss::OutcomeUnknown
        }
    }

    pub(super) async fn report_loss(
        &mut self,
        server: ServerId,
        loss: Loss,
        error: &std::io::Error,
        next_sequence: Option<u8>,
    ) -> Result<(), End> {
        let name = Arc::clone(&self.house.topology.load().server(server).name);
        tracing::debug!(session = self.info.id, server = %name, ?loss, %error, "server lost in mid-statement");
        self.forget_lost_state();
        self.show_rest(None);
        let Some(sequence) = next_sequence else { return Err(End::StateLost) };
        self.write(&loss.packet(&name, error).payload(), sequence).await?;
        if loss == Loss::PinnedState { Err(End::StateLost) } else { Ok(()) }
    }

    /// The connection is gone, and with it all that lived there.
    pub(super) fn forget_lost_state(&mut self) {
        self.end_split();
        self.state.forget_connection();
        self.prepared.forget_connection();
        self.follow = Follow::No;
        if self.insert_id == InsertId::OnHeldConnection {
            self.insert_id = InsertId::Known(0);
        }
    }
}
