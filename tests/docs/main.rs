//! Tests of the documents and of the public API: links, names, and compile errors.

mod compile_errors;
mod links;
mod prose;
mod public_names;
