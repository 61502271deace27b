//! Describes a setting by changes that set it to the bounds of its range and to values outside of the range.

use kinesis_sink::BuildError;

pub type Change<B> = Box<dyn Fn(B) -> B>;

pub struct Setting<B> {
    pub field: &'static str,
    pub bounds: [Change<B>; 2],
    pub outside: Vec<Change<B>>,
}

pub fn range<B: 'static, T: Copy + 'static>(
    field: &'static str,
    bounds: [T; 2],
    outside: &[T],
    set: fn(B, T) -> B,
) -> Setting<B> {
    let change = |value: T| -> Change<B> { Box::new(move |builder| set(builder, value)) };
    let outside = outside.iter().map(|&value| change(value)).collect();
    Setting { field, bounds: bounds.map(change), outside }
}

pub fn assert_out_of_range(error: &BuildError, field: &str) {
    assert!(matches!(error, BuildError::OutOfRange { .. }), "{error}");
    assert_eq!(error.setting(), Some(field));
    let message = error.to_string();
    assert!(message.starts_with(&format!("{field} is ")), "{message}");
    assert!(message.contains("; set it between "), "{message}");
}
