//! Free ports on the loopback, below those the kernel hands out to outgoing connections.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port nobody listens on at this moment. Somebody may take it before the server does: the caller tries again.
pub fn free() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    (0..COUNT).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start().wrapping_add(step)) % COUNT;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}

/// Spreads processes that start at the same time.
fn start() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    (std::process::id().wrapping_mul(7919) ^ (now >> 8)) as u16
}
