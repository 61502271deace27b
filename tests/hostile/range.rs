//! A setting with both ends of its range, and what lies beyond them.

use std::fmt::Debug;

pub type Change<B> = Box<dyn Fn(B) -> B>;

/// A setting of some builder.
pub struct Setting<B> {
    pub field: &'static str,
    pub ends: [Change<B>; 2],
    /// Each with what is said of it.
    pub beyond: Vec<(Change<B>, String)>,
}

pub fn range<B: 'static, T: Copy + Debug + 'static>(
    field: &'static str,
    ends: [T; 2],
    beyond: &[T],
    set: fn(B, T) -> B,
) -> Setting<B> {
    let change = |value: T| -> Change<B> { Box::new(move |builder| set(builder, value)) };
    let [low, high] = ends;
    let told = |value: T| format!("{field} is {value:?}; set it between {low:?} and {high:?}");
    let beyond = beyond.iter().map(|&value| (change(value), told(value)));
    Setting { field, ends: ends.map(change), beyond: beyond.collect() }
}
