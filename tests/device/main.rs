//! The CUDA half of the device layer, against a stand-in for the driver (`tests/driver`): streams that are late and out of
//! step, memory that the host cannot touch, failures at every call. A program of its own, because it is started again with
//! the stand-in in the loader's path.
//!
//! Arguments are parts of the names of the tests to run. `DLB_STRESS_SECONDS=60` makes the stress as long, and with
//! `DLB_VERBOSE=1` each test says its name first.

mod capture;
mod copies;
mod cost;
mod every_call;
mod failures;
mod foreign;
mod given;
mod letting_go;
mod messages;
mod order;
mod pins;
mod pool;
mod scenarios;
mod staging;
mod standin;
mod stress;
mod waits;
mod watchdog;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Names and functions.
type Tests = Vec<(&'static str, fn())>;

/// The tests of one file.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> $crate::Tests {
            vec![$((concat!(module_path!(), "::", stringify!($name)), $name as fn())),*]
        }
    };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "say") {
        messages::say();
        return ExitCode::SUCCESS;
    }
    standin::load();
    if arguments.first().is_some_and(|first| first == "what calls cost") {
        cost::show();
        return ExitCode::SUCCESS;
    }
    if arguments.first().is_some_and(|first| first == "stress without waits") {
        return stress::without_waits();
    }
    if arguments.first().is_some_and(|first| first == "staging without waits") {
        return staging::without_waits();
    }
    if let [first, function, code] = &arguments[..]
        && first == "first call"
    {
        return failures::first_call(function, code.parse().unwrap());
    }
    watchdog::start();
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let (mut run, mut failed) = (0, 0);
    let files = [
        copies::tests,
        cost::tests,
        order::tests,
        pool::tests,
        pins::tests,
        failures::tests,
        every_call::tests,
        waits::tests,
        capture::tests,
        letting_go::tests,
        stress::tests,
        staging::tests,
        messages::tests,
    ];
    for (name, test) in files.iter().flat_map(|tests| tests()) {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(*part)) {
            continue;
        }
        if std::env::var_os("DLB_VERBOSE").is_some() {
            println!("{name}");
        }
        let before = standin::violations();
        let passed =
            catch_unwind(|| watchdog::watched(name, 600, test)).is_ok() && standin::violations() == before;
        let context_is_restored = standin::live(c"contexts pushed here") == 0;
        run += 1;
        if !passed || !context_is_restored {
            failed += 1;
            println!("FAILED {name}{}", if context_is_restored { "" } else { ": a context is left current" });
        }
        standin::heal();
    }
    println!("device: {run} tests, {failed} failed");
    ExitCode::from(u8::from(failed > 0 || run == 0))
}
