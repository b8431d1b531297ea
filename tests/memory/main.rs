//! Memory of our own: what the allocators give, what the pool keeps, and that it all comes back.

mod below;
mod fork;
mod ledger;
mod model;
mod pool;
mod stress;
mod tensor;

/// The shared pool is everybody's: tests that look at its numbers or use it take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
