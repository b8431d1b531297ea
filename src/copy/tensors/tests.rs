use super::*;
use crate::error::Kind;

const PLAIN: Options = Options { swap_bytes: false };

fn counting(shape: &[i64]) -> Tensor {
    let size = shape.iter().product::<i64>() as i32;
    Tensor::from_vec((0..size).collect::<Vec<i32>>(), shape).unwrap()
}

fn values(tensor: &Tensor) -> Vec<i32> {
    // SAFETY: the test's own memory, which nobody writes.
    numbers(&unsafe { new(tensor, Order::C) }.unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<i32> {
    // SAFETY: as above.
    unsafe { tensor.as_slice::<i32>() }.unwrap().to_vec()
}

/// [`copy`] of memory that only the test has.
fn moved(source: &Tensor, destination: &Tensor) -> Result<Report> {
    // SAFETY: as above.
    unsafe { copy(source, destination, PLAIN) }
}

#[test]
fn overlaps_come_out_as_if_there_were_none() {
    let all = counting(&[10]);
    let view = |start, stop| all.slice(0, Some(start), Some(stop), 1).unwrap();
    let report = moved(&view(0, 9), &view(1, 10)).unwrap();
    assert_eq!((report.passes, report.temporary, report.kernel()), (1, 0, "contiguous"));
    assert_eq!(values(&all), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    moved(&view(2, 10), &view(0, 8)).unwrap();
    assert_eq!(values(&all), [1, 2, 3, 4, 5, 6, 7, 8, 7, 8]);

    // Onto itself, the other way round and transposed.
    let all = counting(&[4]);
    let report = moved(&all.slice(0, None, None, -1).unwrap(), &all).unwrap();
    assert_eq!((report.passes, report.temporary, report.bytes), (2, 16, 16));
    assert_eq!(values(&all), [3, 2, 1, 0]);
    let square = counting(&[2, 2]);
    moved(&square.permute(&[1, 0]).unwrap(), &square).unwrap();
    assert_eq!(values(&square), [0, 2, 1, 3]);
    let report = moved(&square, &square).unwrap();
    assert_eq!((report.kernel(), report.passes, report.bytes), ("nothing", 0, 0));
    assert_eq!(values(&square), [0, 2, 1, 3]);
}

#[test]
fn a_run_that_goes_backward_on_both_sides_begins_at_its_lowest_address() {
    // A flipped picture is scrolled by a row, within memory that has more on either side.
    for (up, expected) in [(true, [2, 3, 4, 5, 4, 5]), (false, [0, 1, 0, 1, 2, 3])] {
        let all = counting(&[5, 2]);
        let rows = all.slice(0, Some(1), Some(4), 1).unwrap();
        moved(&counting(&[6]).reshape(&[3, 2]).unwrap(), &rows).unwrap();
        let flipped = |start, stop| {
            rows.slice(0, Some(start), Some(stop), 1).unwrap().slice(0, None, None, -1).unwrap()
        };
        let [upper, lower] = [flipped(0, 2), flipped(1, 3)];
        let report = if up { moved(&lower, &upper) } else { moved(&upper, &lower) }.unwrap();
        assert_eq!((report.passes, report.temporary, report.bytes), (1, 0, 16));
        assert_eq!(values(&all)[2..8], expected);
        assert_eq!((&values(&all)[..2], &values(&all)[8..]), (&[0, 1][..], &[8, 9][..]));
    }
}

#[test]
fn memory_between_elements_is_no_overlap_of_runs() {
    // Even positions to odd ones: the ranges meet, so a temporary is taken, and the result is right.
    let all = counting(&[8]);
    let even = all.slice(0, Some(0), None, 2).unwrap();
    let odd = all.slice(0, Some(1), None, 2).unwrap();
    moved(&even, &odd).unwrap();
    assert_eq!(values(&all), [0, 0, 2, 2, 4, 4, 6, 6]);
}

#[test]
fn new_tensors_have_the_order_that_was_asked_for() {
    let source = counting(&[2, 3, 4]);
    let turned = source.permute(&[1, 2, 0]).unwrap();
    let strides = |tensor: &Tensor, order| {
        // SAFETY: as above.
        let made = unsafe { new(tensor, order) }.unwrap();
        assert!(made.is_copied() && !made.is_read_only());
        assert_eq!(values(&made), values(tensor));
        made.strides().to_vec()
    };
    assert_eq!(strides(&turned, Order::C), [8, 2, 1]);
    assert_eq!(strides(&turned, Order::F), [1, 3, 12]);
    assert_eq!(strides(&turned, Order::A), [8, 2, 1]);
    assert_eq!(strides(&turned, Order::K), [4, 1, 12]);
    let columns = source.permute(&[2, 1, 0]).unwrap();
    assert_eq!(strides(&columns, Order::A), [1, 4, 12]);
    assert_eq!(strides(&columns.slice(0, None, None, 2).unwrap(), Order::K), [1, 2, 6]);
    assert_eq!(strides(&counting(&[3]), Order::F), [1]);
    // Where nothing repeats, torch's order is NumPy's.
    assert_eq!(strides(&turned, Order::Torch), [4, 1, 12]);
    let rows = counting(&[4]).expand(&[3, 4]).unwrap();
    assert_eq!((strides(&rows, Order::Torch), strides(&rows, Order::K)), (vec![4, 1], vec![1, 3]));
    assert!(!source.is_copied() && !turned.is_copied());
}

#[test]
fn bytes_are_swapped_in_every_part_of_an_element() {
    let swap = Options { swap_bytes: true };
    let source = Tensor::from_vec(vec![0x0102_0304_i32, 0x1112_1314], &[2]).unwrap();
    // SAFETY: as above.
    let (swapped, report) = unsafe { new_with(&source, Order::C, swap) }.unwrap();
    assert_eq!((numbers(&swapped), report.kernel()), (vec![0x0403_0201, 0x1413_1211], "byte-swapped"));
    // A complex number is two.
    let pair = source.reinterpret(dtype::parse("complex64").unwrap()).unwrap();
    // SAFETY: as above.
    let (swapped, _) = unsafe { new_with(&pair, Order::C, swap) }.unwrap();
    assert_eq!(numbers(&swapped.reinterpret(dtype::I32).unwrap()), [0x0403_0201, 0x1413_1211]);
    // In place there is an overlap, but nothing that could be left out.
    // SAFETY: as above.
    let report = unsafe { copy(&source, &source, swap) }.unwrap();
    assert_eq!((report.passes, numbers(&source)), (2, vec![0x0403_0201, 0x1413_1211]));
    let bytes = Tensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    // SAFETY: as above.
    let (same, _) = unsafe { new_with(&bytes, Order::C, swap) }.unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { same.as_slice::<u8>() }.unwrap(), [1, 2]);
}

#[test]
fn what_cannot_be_copied_is_refused_before_anything_moves() {
    let (source, destination) = (counting(&[2, 2]), counting(&[2, 2]));
    let kind = |source: &Tensor, destination: &Tensor| {
        // SAFETY: as above.
        let failed = moved(source, destination).unwrap_err();
        assert_eq!(plan(source, destination, PLAIN).unwrap_err(), failed);
        failed.kind()
    };
    assert_eq!(kind(&source, &counting(&[4])), Kind::InvalidArgument);
    assert_eq!(kind(&source, &destination.reinterpret(dtype::F32).unwrap()), Kind::InvalidArgument);
    assert_eq!(kind(&source, &destination.read_only().unwrap()), Kind::ReadOnly);
    let repeated = counting(&[2, 1]).expand(&[2, 2]).unwrap();
    assert!(matches!(kind(&source, &repeated), Kind::ReadOnly | Kind::Unsupported));
    // Repeated elements may be read.
    moved(&repeated, &destination).unwrap();
    assert_eq!(values(&destination), [0, 0, 1, 1]);
}

#[test]
fn a_plan_is_what_the_copy_reports() {
    let source = Tensor::zeros(&[1024, 1024], dtype::F64).unwrap();
    let destination = Tensor::empty(&[1024, 1024], dtype::F64).unwrap();
    let turned = source.permute(&[1, 0]).unwrap();
    let planned = plan(&turned, &destination, PLAIN).unwrap();
    assert_eq!((planned.kernel(), planned.bytes, planned.passes), ("transposed", 8 << 20, 1));
    assert!(planned.threads >= 1);
    assert_eq!(moved(&turned, &destination).unwrap(), planned);
    let (none, _) = (Tensor::empty(&[0, 3], dtype::U8).unwrap(), ());
    assert_eq!(plan(&none, &none, PLAIN).unwrap().passes, 0);
}
