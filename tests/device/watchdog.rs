//! Ends the program where something hangs, and says what.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is running, and when it must be over.
static WATCHED: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

pub fn start() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let late = WATCHED.lock().unwrap().iter().rev().find(|(_, end)| *end < Instant::now()).cloned();
            if let Some((what, _)) = late {
                println!("HANGS {what}");
                std::process::abort();
            }
        }
    });
}

/// Runs `body`, which is to be over within so many seconds.
pub fn watched<T>(what: &str, seconds: u64, body: impl FnOnce() -> T) -> T {
    struct Over(usize);
    impl Drop for Over {
        fn drop(&mut self) {
            WATCHED.lock().unwrap().truncate(self.0);
        }
    }
    let over = {
        let mut watched = WATCHED.lock().unwrap();
        watched.push((what.to_owned(), Instant::now() + Duration::from_secs(seconds)));
        Over(watched.len() - 1)
    };
    let result = body();
    drop(over);
    result
}
