//! A service in miniature: requests arrive as ndarray arrays, torch works on them in place, and the answer to each is
//! the very array that came in.
//!
//!     make test-tch      # or, with a Python that has torch 2.13: LIBTORCH_USE_PYTORCH=1 cargo run -p rust_service

use dlbridge::Tensor;
use ndarray::{Array2, array};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Result<Array2<f32>, Failure>;

/// Scores to probabilities, row by row, in the array's own memory.
fn softmax(scores: Array2<f32>) -> Answer {
    let shared = Tensor::try_from(scores)?; // takes the array's vector
    {
        let mut rows = dlbridge_tch::to_torch(&shared)?; // the same memory, for as long as `rows` lives
        let _ = rows.exp_();
        let sums = rows.sum_dim_intlist([1].as_slice(), true, tch::Kind::Float);
        let _ = rows.g_div_(&sums);
    }
    Ok(Array2::try_from(shared)?) // nobody else has it now: the vector comes back
}

fn serve(requests: Receiver<(Array2<f32>, Sender<Answer>)>) {
    for (scores, reply) in requests {
        let _ = reply.send(softmax(scores)); // whoever hung up does not want the answer
    }
}

fn main() -> Result<(), Failure> {
    let (requests, inbox) = channel();
    let worker = thread::spawn(move || serve(inbox));

    let scores = array![[0.0, 0.0], [2.0_f32.ln(), 6.0_f32.ln()]];
    let before = scores.as_ptr();
    let (reply, answer) = channel();
    requests.send((scores, reply))?;
    let probabilities = answer.recv()??;

    println!("{probabilities}");
    assert_eq!(probabilities.as_ptr(), before, "one buffer from end to end");
    assert!((&probabilities - array![[0.5, 0.5], [0.25, 0.75]]).iter().all(|error| error.abs() < 1e-6));

    drop(requests);
    worker.join().expect("the worker does not panic");
    assert_eq!(dlbridge::tensor::live_tensors(), 0, "nothing is left behind");
    Ok(())
}
