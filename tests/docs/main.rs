//! Tests of the documents and of the public API: links, names, and compile errors.
//!
//! | topic                                               | module           |
//! |-----------------------------------------------------|------------------|
//! | links, files, and tests that the documents refer to | `links`          |
//! | English of comments, test names                     | `prose`          |
//! | size of the public API, names of features           | `public_names`   |
//! | compile errors for unsuitable services              | `compile_errors` |

mod compile_errors;
mod links;
mod prose;
mod public_names;
