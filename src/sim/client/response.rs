use futures::future::BoxFuture;
use serde::Serialize;

use crate::service::PutRecordsError;

pub(super) type ResponseFuture = BoxFuture<'static, Result<Vec<u8>, PutRecordsError>>;

#[derive(Serialize)]
pub(super) struct Empty {}
