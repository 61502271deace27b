//! Failures: errors, retries, dead letters, duplicates, and shutdown.
//!
//! An accepted record is queued, in flight, delivered, failed, or withdrawn. The sink stays usable after an error, and
//! errors do not lose records. By default, records do not expire: records are retried indefinitely after throttles,
//! timeouts, and outages.
//!
//! # Building a sink
//!
//! `build` returns a [`BuildError`](crate::BuildError):
//!
//! | variant | what to do |
//! |---|---|
//! | `OutOfRange` | set the setting in the message to a value in the range |
//! | `Conflict` | the two settings in the message contradict each other: change one of them |
//! | `Stream` | set the name or ARN of a stream |
//! | `Region` | the region in the ARN differs from the client's region: create a client for the ARN's region |
//! | `NoRegion` | set `AWS_REGION`, or set a region in the profile or the client |
//! | `NoListShards` | aggregation per shard needs the shard list, and a custom stack has no source for it: [set one](crate::SinkBuilder::with_stream_info) |
//!
//! `build` does not detect missing credentials, permissions, or streams. `from_env` reports them, because it performs a
//! [check](crate::KinesisSink::check). Otherwise, the first request fails with [`Refused`](crate::ErrorKind::Refused).
//!
//! # The first request fails
//!
//! `check().await` on a sink or producer sends one DescribeStreamSummary request, or two if the credentials are
//! rejected. It waits for at most 10 s, and returns an error that describes the problem in one sentence. Call `check`
//! once at program start. A running sink treats a wrong endpoint like an outage: it retries, and reports the failures
//! only in its [log](#log-lines).
//!
//! | the message begins with | cause | fix |
//! |---|---|---|
//! | stream … does not exist | the name, the region, or the account is wrong | check all three; the message contains the region and the endpoint |
//! | stream … is being created | the stream does not accept records yet | wait until its status is ACTIVE |
//! | stream … is being deleted | the stream no longer accepts records | use another stream |
//! | the client's region is …, not that of … | the stream's ARN contains another region than the client's | create a client for the ARN's region |
//! | the account cannot use Kinesis | the region is disabled, or the account registration is incomplete | enable the region, or complete the registration |
//! | host … cannot be resolved | a DNS problem, a misspelt region or endpoint, or no network | check `AWS_REGION`, `AWS_ENDPOINT_URL_KINESIS`, and DNS |
//! | … refused the connection | no server listens on that address | start the local server, or check the endpoint URL |
//! | no connection to … | a security group or firewall blocks the traffic, or a route or VPC endpoint is missing | allow traffic to port 443 |
//! | no response from … | a security group, a firewall, or a proxy blocks the request | allow traffic to port 443; check the proxy |
//! | the certificate of … is not trusted | the server uses a private CA, a proxy inspects TLS, or the container lacks `ca-certificates` | set `SSL_CERT_FILE`, install `ca-certificates`, or give the client a [trust store](super::clients::http) |
//! | the certificate of … is for another host | the host in the endpoint URL is not in the certificate, or is an IP address | use the host name in the certificate |
//! | the certificate of … is not valid now | the certificate has expired, or the clock is wrong | renew the certificate, or set the clock |
//! | the TLS handshake with … failed | the server does not support TLS, or supports only an old version | use `http://` for a local server |
//! | … does not respond with HTTP | an `http://` URL points to a TLS port | use `https://` |
//! | … does not respond like Kinesis | the endpoint URL is wrong: the HTTP response has no Kinesis error code | check the endpoint URL |
//! | the proxy for … cannot be reached | the proxy in `HTTPS_PROXY` is wrong or down | correct `HTTPS_PROXY`, or add the host to `NO_PROXY` |
//! | a proxy … rejected the request | HTTP 407, or 403 without an error code | set the proxy credentials, or add the host to `NO_PROXY` |
//! | no credentials found | no provider in the chain has credentials | set `AWS_ACCESS_KEY_ID` or `AWS_PROFILE`, or attach a role |
//! | the credentials cannot be loaded | the provider failed, or took longer than 10 s | sign in, or check the role and the metadata service |
//! | the credentials have expired | `ExpiredToken` | renew the credentials |
//! | unknown access key | `UnrecognizedClientException`, `InvalidClientTokenId` | check the key, the session token, and the AWS partition, and whether the region must be enabled |
//! | … rejects the signature | `InvalidSignatureException`, `IncompleteSignature` | check the secret key, whether region and endpoint match, and whether a proxy changes the headers |
//! | … rejects the time | the clock is off by more than five minutes | synchronize the clock |
//! | the KMS key of stream … cannot be used | the key is disabled, or its policy denies access to the role | enable the key, or allow `kms:GenerateDataKey` |
//! | the request cannot be built | the SDK client has no HTTP client, or an invalid endpoint URL | complete the client's configuration |
//!
//! The check also passes if the role lacks `kinesis:DescribeStreamSummary`, because sending does not need that
//! permission; if the response is a throttle or HTTP 5xx, because the sink retries these; and if the server does not
//! support the operation. In each of these cases it logs a line at INFO. A check that passes therefore does not prove
//! that PutRecords is allowed.
//!
//! For a sink over a [custom stack](crate::SinkBuilder::build_with), the check uses the [source of stream
//! information](crate::SinkBuilder::with_stream_info). If none is set, the check always passes.
//!
//! `SSL_CERT_FILE` replaces the system certificates, so the file must contain all certificates that are needed. The AWS
//! SDK for Rust reads neither `AWS_CA_BUNDLE` nor `ca_bundle` in a profile. `from_env` logs a warning if
//! `AWS_CA_BUNDLE` is set, but neither `SSL_CERT_FILE` nor `SSL_CERT_DIR`. If there is no trusted certificate at all, a
//! debug build of the SDK panics with `no valid root certificates parsed`.
//!
//! # Errors of sinks and producers
//!
//! Sinks and producers return an [`Error`](crate::Error) with a [kind](crate::ErrorKind):
//!
//! | kind | from | records | what to do |
//! |---|---|---|---|
//! | `RecordTooLarge`, `InvalidPartitionKey` | both | in the error | the record can never be sent: correct it, or store it elsewhere |
//! | `Full` | both | in the error | wait for capacity (`poll_ready`, `feed`, `put`), or try again later. Other shards and streams can have capacity |
//! | `TooManyStreams` | [router](super::router#idle-streams) | in the error | try again later, or raise `max_streams` |
//! | `Closed` | both | in the error | create a new sink or producer |
//! | `Refused` | both | accepted records stay buffered, in order; a new record is in the error | the service rejects every request (permissions, stream, credentials): fix the cause. A sink then retries when it is polled, and a producer with `FatalPolicy::Retry` in its driver. To get the records back, call `take_undelivered` |
//! | `Undelivered` | both | kept for `take_failed`; `close` and `call` return them in the error | [take the failed records](crate::Producer::take_failed), which count towards the buffer limits |
//! | `Stopped`, `Abandoned` | producer | `close` returns the remaining records | fix the cause, then create a new producer |
//! | `Unusable` | [`check`](crate::KinesisSink::check) | | the message names the cause and the fix |
//! | `Build` | `from_env` | | see [building a sink](#building-a-sink) |
//!
//! A router returns the errors of its producers, with their [streams](crate::Error::stream). If several streams fail,
//! `flush` and `close` return one error with the records of all of them.
//!
//! If the sink does not accept a record, the error contains the record, and the sink stays usable:
//!
//! ```
//! use futures::SinkExt;
//! use kinesis_sink::{ErrorKind, KinesisSink, Record};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = kinesis_sink::sim::SimStream::new(2);
//! # let mut sink = KinesisSink::new(&example.client(), "example")?;
//! match sink.feed(Record::from(vec![0; 2 * 1024 * 1024])).await {
//!     Ok(()) => {}
//!     Err(error) if error.kind() == ErrorKind::RecordTooLarge => {
//!         println!("{error}"); // its size and the limit
//!         let _record = error.into_record();
//! #       assert_eq!(_record.unwrap().data().len(), 2 << 20);
//!     }
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `forward` and `send_all` from the `futures` crate stop at the first error. If the source returns an error, they
//! return it without flushing. Accepted records stay in the sink: call `close().await` to send them. If the sink
//! returns an error, they drop the item that they were about to send, which the sink has not accepted. If you need that
//! item, call `feed` in a loop instead.
//!
//! # From an error to its outcome
//!
//! A failed request is assigned an [`ErrorClass`](crate::service::ErrorClass), and a failed entry of a response an
//! [`EntryClass`](crate::service::EntryClass). The class determines what happens next:
//!
//! ```text
//!                     error of a request, or of an entry in a response
//!                                          |
//!                                      Classify
//!                                          |
//!       +---------------+------------------+---------------------+------------------------+
//!       v               v                  v                     v                        v
//!   Throttled        NotSent        OutcomeUnknown           Credentials             Invalid
//!                                   Transient (entry)        Fatal                   Rejected
//!                                   Blocked                                          (entry)
//!       |               |                  |                     |                        |
//!   redraw random    count no       after repeated           count no                bisect until
//!   keys; entry:     attempt        failures: smaller        attempt                 the record
//!   lower the rate                  requests, isolate                                is alone
//!   of its shard        |                  |                     |                        |
//!       |               |                  |                     |                        |
//!       +---------------+-----------+------+---------------------+                        |
//!                                   v                            v                        |
//!                     requeue, back off, send again        Fatal: immediately             |
//!                                   |                      Credentials, Blocked: after    |
//!              deadline passed, or  |                      5 minutes without success;     |
//!             no attempts left (**) |                      the error is reported as       |
//!                                   v                      Refused (*)                    |
//!                     record fails permanently <------------------------------------------+
//!                                   |
//!                                   +--> with a receipt             completes the receipt
//!                                   +--> with a dead-letter handler passed to the handler
//!                                   +--> otherwise                  kept, error Undelivered
//!
//!   (*)  The records stay buffered. A KinesisSink retries when it is polled again. A Producer stops
//!        and returns its records, or retries, depending on its FatalPolicy.
//!   (**) By default, there is neither a deadline nor an attempt limit.
//! ```
//!
//! Set a custom classifier with [`with_classify`](crate::SinkBuilder::with_classify). The default classes are:
//!
//! | class | what the sink does | what you should do |
//! |---|---|---|
//! | `Throttled` | retries at a lower rate. A throttled entry lowers the rate of its shard. After a throttled request, all requests back off. Records without a key get a new random key | check the [send rate](super::pacing), or the number of shards |
//! | `OutcomeUnknown` | retries; the records can be written twice | expect [duplicates](#unknown-outcomes-and-duplicates) |
//! | `Transient` (entry) | retries after a backoff of the entry's shard | |
//! | `Blocked`: HTTP 4xx without an error code | retries as for `OutcomeUnknown`. If no request succeeds for [five minutes](crate::Settings::credentials_timeout), handles the error as for `Fatal`. If only a single record fails in this way, and the stream has accepted others, the record is retried and reported instead | look for a proxy or firewall that rejects requests |
//! | `NotSent` | retries, and does not count the attempt | |
//! | `Credentials` | retries for [five minutes](crate::Settings::credentials_timeout), because credentials can be refreshed; then handles the error as for `Fatal` | renew the credentials |
//! | `Fatal` | reports the error immediately, and keeps the records | fix the cause |
//! | `Invalid`, or `Rejected` (entry) | bisects the request or aggregate until the invalid record is alone. That record fails, and the others are sent | check the record |
//!
//! # Retries and backoff
//!
//! After a failed request, or a response in which every entry failed, the sink waits before the next request. The
//! waiting time is random. It is at most 100 ms after the first failure, and the maximum doubles with each consecutive
//! failure, up to 3 s. As soon as any entry is delivered, the maximum is reset to 100 ms.
//! [`Settings::backoff`](crate::Settings::backoff) configures both limits. While whole requests fail, the sink [probes
//! the stream](super::pacing#outages) with one request at a time. If only some entries fail, only the lanes of their
//! shards wait.
//!
//! An *outage* is a period in which whole requests fail. It has two ends: the backoff and the condition
//! [`Failing`](crate::status::Condition::Failing) end at the first successful request. The log reports the end
//! after 10 s without a failure, so that an endpoint that fails intermittently is logged as a single outage.
//!
//! # Log lines
//!
//! All log lines have the target `kinesis_sink`. Individual retries are logged at DEBUG only. The following lines
//! report failures that last:
//!
//! | level | event | when |
//! |---|---|---|
//! | WARN | requests fail and are retried | at the second consecutive failed request, 5 s after a failed request if none has succeeded since, or after requests have failed intermittently for a minute |
//! | WARN | requests are refused | at the first `Fatal` error of a sink, or of a producer that [retries](crate::settings::FatalPolicy::Retry) |
//! | WARN | requests still fail, or are still refused | once a minute |
//! | INFO | requests succeed again | after 10 s without a failure, or earlier when the sink is closed |
//! | WARN | the stream throttles or fails some of the entries | after a minute with throttled or failed entries, then once a minute |
//! | INFO | the stream accepts all entries again | after 10 s without a throttled or failed entry |
//! | WARN | records failed permanently | at most once a minute, with the number of failed records that the sink keeps |
//! | INFO | the stream was not checked | when a [check](#the-first-request-fails) passes although it got no stream description |
//! | WARN | `AWS_CA_BUNDLE` is not read | in `from_env`, if `AWS_CA_BUNDLE` is set but neither `SSL_CERT_FILE` nor `SSL_CERT_DIR` |
//! | ERROR | the producer stopped | once, with the cause and the number of records returned |
//!
//! In the log, failures that are less than 10 s apart belong to the same outage. A single failed request is not logged
//! as an outage, because stale connections regularly cause one. Each line about an outage contains the duration, the
//! numbers of requests and of failed requests, the numbers of queued and in-flight records, the age of the oldest
//! record, and the latest error. The last line contains the duration and the totals. While no records are queued, no
//! requests are sent and no reminders are logged. A sink logs only while it is polled.
//!
//! # Requests that fail repeatedly
//!
//! A whole request can fail because a firewall or the service rejects one of its records, or because the request is too
//! large for a slow link. Therefore, if a request fails (`OutcomeUnknown`, `Blocked`) and one of its records has failed
//! before, the next request contains half as many entries, down to one. Each response doubles the request size again,
//! up to the size that is expected to complete within the timeout.
//!
//! A record that repeatedly fails as the only record of its request is **isolated**: it is queued behind all other
//! records and retried alone, with a separate backoff and in at most one request slot. An aggregate is bisected until
//! the failing record is found. An entry is also isolated after it has failed five times in a row (`InternalFailure`)
//! while other entries of its requests were delivered. An isolated record
//!
//! - does not fail for being isolated: unless it reaches [a deadline or an attempt limit](#deadlines-and-attempts), it
//!   is retried indefinitely;
//! - does not delay other records. The exception is [`RecordOrdering::PerKey`](crate::RecordOrdering::PerKey), with
//!   which later records with the same key wait. For this reason, while a record is isolated,
//!   [`Aggregation::PerShard`](crate::Aggregation::PerShard) with ordering packs only records with the same key into an
//!   aggregate;
//! - is not logged as an outage while other records are delivered.
//!
//! During an outage every record fails, and each probe can isolate one record. After the outage, the isolated records
//! are sent in requests of increasing size. Without [ordering](super::ordering), they can therefore arrive later than
//! others.
//!
//! If the same records time out repeatedly, the timeout is doubled as well, from the [request
//! timeout](crate::Settings::request_timeout) up to the [maximum request
//! timeout](crate::Settings::max_request_timeout). Fast responses reset it. The default stack and
//! [`TimeoutLayer`](crate::timeout::TimeoutLayer) support longer timeouts; tower's `timeout` does not.
//!
//! # Records that fail permanently
//!
//! [`FailureReason`](crate::record::FailureReason) describes why a record was not delivered:
//!
//! | reason | when |
//! |---|---|
//! | `Rejected` | the service rejects this record, and would reject it again |
//! | `AttemptsExhausted` | only with [`max_attempts`](crate::Settings::max_attempts) |
//! | `DeadlineExceeded` | only with [`with_deadline`](crate::SinkBuilder::with_deadline): the record was not delivered before the deadline |
//! | `Refused` | a producer stopped because the service rejects every request |
//! | `Withdrawn` | `take_undelivered` or `close_within` returned the record |
//! | `Abandoned` | the sink or the driver was dropped, or the driver was aborted or panicked |
//! | `NotAccepted` | `put_all`: the producer did not accept the record |
//! | `Dropped` | the record was dropped before a sink accepted it |
//!
//! A record that fails for one of the first four reasons is returned through its receipt. If it has no receipt, it is
//! passed to the dead-letter handler. If there is no handler either, the record stays in the sink, counts towards the
//! buffer limits, and is reported as an error.
//!
//! # Dead letters
//!
//! A handler is called from the poll methods, so it must not block. The sender of a tokio channel can be used as a
//! handler. Another task then receives the records and stores them:
//!
//! ```
//! use std::time::Duration;
//!
//! use futures::SinkExt;
//! use kinesis_sink::{KinesisSink, Record};
//! use tokio::sync::mpsc;
//! # use kinesis_sink::sim::{Faults, SimStream};
//! # async fn store(_: &kinesis_sink::Undelivered) -> std::io::Result<()> { Ok(()) }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let example = SimStream::builder().with_faults(Faults::default().with_throttles(1.0)).build()?;
//! # let client = example.client();
//! let (dead_letters, mut received) = mpsc::channel(1_000);
//! let mut sink = KinesisSink::builder("example")
//!     .with_deadline(Duration::from_secs(60))
//!     .with_dead_letter_handler(dead_letters)
//!     .build(&client)?;
//! let storing = tokio::spawn(async move {
//!     let mut stored = 0;
//!     while let Some(undelivered) = received.recv().await {
//!         store(&undelivered).await?;
//!         stored += 1;
//!     }
//!     Ok::<_, std::io::Error>(stored)
//! });
//!
//! sink.send(Record::from("for a stream that throttles everything")).await?;
//! sink.close().await?;
//! drop(sink); // Closes the channel.
//! println!("{} records were not delivered", storing.await??);
//! # Ok(())
//! # }
//! ```
//!
//! If the channel is full, or is closed because the task has failed, the sink keeps the record. A custom handler can
//! reject a record as well: if [`DeadLetterHandler::put`](crate::record::DeadLetterHandler::put) returns a record, the
//! sink keeps it. For a handler that accepts all records, pass a closure to
//! [`with_dead_letters`](crate::SinkBuilder::with_dead_letters).
//!
//! With the feature `serde`, an [`Undelivered`](crate::Undelivered#serialized-form) can be stored as a line of JSON,
//! which includes the stream name. The record can be deserialized and sent again.
//!
//! The example `pipe` writes dead letters to a file, in another format, and sends them again with their keys:
//! `pipe --format dead-letters < FILE`.
//!
//! # Deadlines and attempts
//!
//! Deadlines and attempt limits are off by default. Set a deadline if old records are worthless, or if a caller awaits
//! the receipt. The deadline is measured from acceptance. A record that is in flight at its deadline fails only if that
//! attempt fails. Prefer a deadline to an attempt limit: if errors are fast, an attempt limit is reached even in a
//! short outage, and if errors are slow, it is reached late.
//!
//! # Unknown outcomes, and duplicates
//!
//! If a request times out, its connection fails, or the response is HTTP 5xx, the records might have been written
//! nevertheless. They are sent again, so delivery is **at least once**. [`Undelivered::may_have_been_written`] returns
//! `true` if the stream might contain the undelivered record. If duplicates matter, put an id into the data, and let
//! consumers skip ids that they have already processed.
//!
//! # Shutting down
//!
//! | event | what happens to the records |
//! |---|---|
//! | `close().await` | all records are settled before it returns; if there is an outage, it waits until the outage ends |
//! | `producer.close_within(limit).await` | records that are not settled within the limit are returned in the [error](crate::Error::into_undelivered) |
//! | a sink is dropped | abandoned: receipts complete with `Abandoned`, and a WARN contains the number of records |
//! | the last handle of a producer is dropped | sent in the background, as long as the runtime runs |
//! | the driver is dropped or aborted, or panics | receipts complete with `Abandoned`; records without a receipt are kept for `take_failed` |
//! | the process is killed | records that were accepted but not delivered are lost, because the buffer is in memory |
//!
//! To lose no records when the process is killed, store the position in the source only up to the oldest record that is
//! not delivered. The [chapter on producers](super::producer#committing-offsets) shows how.
//!
//! # Panics
//!
//! If a service, a layer, or a classifier panics, no record is lost: the outcome of the request is treated as unknown.
//! If a dead-letter handler panics, the record that was passed to the handler is lost. Sinks and drivers panic if they
//! are polled outside of a tokio runtime with an enabled timer.
//!
//! [`Undelivered::may_have_been_written`]: crate::Undelivered::may_have_been_written
