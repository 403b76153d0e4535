//! One session's hold on one connection. Dropped without a verdict, the connection is closed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::pool::Pool;
use super::session::{Backend, ExchangeError};
use super::settings::Settings;

pub struct Lease {
    backend: Option<Box<Backend>>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn new(backend: Box<Backend>, pool: Arc<Pool>) -> Self {
        Self { backend: Some(backend), pool }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Gives the connection the settings of the session that holds it.
    pub async fn settle(&mut self, wanted: &Settings) -> Result<(), ExchangeError> {
        if self.settings.same_variables(wanted) && self.settings.schema == wanted.schema {
            return Ok(());
        }
        self.pool.counters.settled.fetch_add(1, Relaxed);
        self.settle_to(wanted).await
    }

    /// Empties the list that SHOW WARNINGS shows. No statement does that on both flavours: MariaDB's keep the
    /// list unless they read a table.
    pub async fn forget_diagnostics(&mut self) -> Result<(), ExchangeError> {
        let setup = self.pool.setup();
        self.reset(&setup).await
    }

    /// Back to the pool as it is: nothing but its settings distinguishes it from a new one.
    pub fn release_clean(mut self) {
        if let Some(backend) = self.backend.take() {
            self.pool.release(backend);
        }
    }

    /// Back to the pool once the server has made it as after login.
    pub fn release_after_reset(mut self) {
        if let Some(backend) = self.backend.take() {
            Arc::clone(&self.pool).release_after_reset(backend);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(backend) = self.backend.take() {
            self.pool.close_leased(backend);
        }
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend.as_ref().expect("a lease holds its connection until it is given back")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend.as_mut().expect("a lease holds its connection until it is given back")
    }
}
