use dlbridge::Tensor;

fn main() -> Result<(), dlbridge::Error> {
    let samples = vec![0_f32; 6];
    let address = samples.as_ptr();
    let mine = Tensor::from_vec(samples, &[2, 3])?;
    let handed: dlpark::versioned::Dlpack = (&mine).try_into()?;
    let theirs = Tensor::try_from(handed)?;
    assert_eq!(theirs.data().cast::<f32>().cast_const(), address);
    assert_eq!(theirs.shape(), [2, 3]);
    Ok(())
}
