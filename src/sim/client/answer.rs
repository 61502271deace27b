use futures::future::BoxFuture;
use serde::Serialize;

use crate::service::PutRecordsError;

/// The body of an answer, or an error.
pub(super) type Answer = BoxFuture<'static, Result<Vec<u8>, PutRecordsError>>;

/// An answer without members.
#[derive(Serialize)]
pub(super) struct Empty {}
