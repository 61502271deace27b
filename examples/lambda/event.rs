//! An SQS event and the partial batch response, for mappings with the response type `ReportBatchItemFailures`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
pub struct Messages {
    #[serde(rename = "Records")]
    pub messages: Vec<Message>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Message {
    #[serde(rename = "messageId")]
    pub id: String,
    pub body: String,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Answer {
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Failure {
    #[serde(rename = "itemIdentifier")]
    pub id: String,
}
