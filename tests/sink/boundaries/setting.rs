//! A setting with both ends of its range, and what lies beyond them.

use kinesis_sink::BuildError;

pub type Change<B> = Box<dyn Fn(B) -> B>;

/// A setting of some builder.
pub struct Setting<B> {
    pub field: &'static str,
    pub ends: [Change<B>; 2],
    pub beyond: Vec<Change<B>>,
}

pub fn range<B: 'static, T: Copy + 'static>(
    field: &'static str,
    ends: [T; 2],
    beyond: &[T],
    set: fn(B, T) -> B,
) -> Setting<B> {
    let change = |value: T| -> Change<B> { Box::new(move |builder| set(builder, value)) };
    let beyond = beyond.iter().map(|&value| change(value)).collect();
    Setting { field, ends: ends.map(change), beyond }
}

/// Checks that `error` names `field`, its value and its range.
pub fn check_told(error: &BuildError, field: &str) {
    assert!(matches!(error, BuildError::OutOfRange { .. }), "{error}");
    assert_eq!(error.setting(), Some(field));
    let told = error.to_string();
    assert!(told.starts_with(&format!("{field} is ")), "{told}");
    assert!(told.contains("; set it between "), "{told}");
}
