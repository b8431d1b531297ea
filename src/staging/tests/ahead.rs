//! A consumer that runs ahead of the device: it has let go of batches whose copies are still under way.

use super::{PATIENT, SOON, put, put_within, uploading_on, values};
use crate::device::Stream;
use crate::dlpack::DLDevice;
use crate::staging::Options;
use std::sync::mpsc::channel;

#[test]
fn a_batch_on_its_way_is_nobodys_once_its_consumer_lets_go() {
    let [upload, consumer] = [(); 2].map(|()| Stream::new(DLDevice::CPU).unwrap());
    let (open, gate) = channel::<()>();
    upload.call(move || gate.recv().map_or(Ok(()), Ok)).unwrap();
    let ring = uploading_on(upload, Options { slots: 2, ..Options::default() }, false);
    for value in [1, 2] {
        put(&ring, &[value; 3]).unwrap();
        drop(ring.next(Some(&consumer), SOON).unwrap());
        assert!(ring.held().is_empty(), "what is copied is not held");
    }
    open.send(()).unwrap();
    put_within(&ring, &[3; 3], PATIENT).unwrap(); // its slot is free once the copy out of it is done
    assert_eq!(values(&ring.next(Some(&consumer), PATIENT).unwrap()), [3; 3]);
    assert_eq!(ring.totals().sets, 2);
}
