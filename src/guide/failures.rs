//! Failures: errors, retries, dead letters, duplicates and shutdown.
//!
//! An accepted record is always queued, in flight, delivered, or returned with the reason. Errors do not poison the
//! sink, and do not lose records. By default records do not expire: throttles, timeouts and outages are retried
//! indefinitely.
//!
//! # Building a sink
//!
//! `build` returns a [`BuildError`](crate::BuildError):
//!
//! | variant | what to do |
//! |---|---|
//! | `OutOfRange` | set the named setting to a value in the range |
//! | `Conflict` | change one of the two named settings, which contradict each other |
//! | `Stream` | set the name or ARN of a stream |
//! | `Region` | the ARN names another region than the client: create a client for that region |
//! | `NoRegion` | set `AWS_REGION`, or a region in the profile or the client |
//! | `NoListShards` | aggregation per shard over a custom stack: [set a source that lists the shards](crate::SinkBuilder::with_stream_info) |
//!
//! Missing credentials, permissions and streams are reported by the [check](crate::KinesisSink::check) that `from_env`
//! makes, or at the first request, as [`Refused`](crate::ErrorKind::Refused).
//!
//! # The first request fails
//!
//! `check().await` of a sink or producer sends one DescribeStreamSummary request, or two if the credentials are
//! refused. It waits for at most 10 s, and returns an error that says in one sentence what is wrong. Call it once when
//! a program starts: a running sink retries outages, and reports a wrong endpoint only in its [log](#log-lines).
//!
//! | the sentence begins | cause | fix |
//! |---|---|---|
//! | stream … does not exist | the name, the region or the account is wrong | check all three; the sentence has the region and the endpoint |
//! | stream … is being created | PutRecords does not know the stream yet | wait until its status is ACTIVE |
//! | stream … is being deleted | it accepts no records | use another stream |
//! | the client's region is …, not that of … | an ARN, and a client of another region | create a client for the ARN's region |
//! | the account cannot use Kinesis | the region is disabled, or the registration is incomplete | enable the region |
//! | host … cannot be resolved | DNS, a misspelt region or endpoint, no network | check `AWS_REGION`, `AWS_ENDPOINT_URL_KINESIS`, DNS |
//! | … refused the connection | no server listens there | start the local server, or check the endpoint URL |
//! | no connection to … | a security group, a firewall, a missing route or VPC endpoint | allow traffic to port 443 |
//! | no response from … | a security group, a firewall, or a proxy that holds the request | allow traffic to port 443; check the proxy |
//! | the certificate of … is not trusted | a private CA, a proxy that inspects TLS, or a container without `ca-certificates` | set `SSL_CERT_FILE`, install `ca-certificates`, or give the client a [trust store](super::clients::http) |
//! | the certificate of … is for another host | the endpoint URL has another name or an address | use the name in the certificate |
//! | the certificate of … is not valid now | it has expired, or the clock is wrong | renew it, set the clock |
//! | the TLS handshake with … failed | the server does not support TLS, or only an old version | `http://` for a local server |
//! | … does not respond with HTTP | an `http://` URL of a TLS port | `https://` |
//! | … does not respond like Kinesis | a wrong endpoint URL: HTTP without an error code of Kinesis | check the endpoint URL |
//! | the proxy for … cannot be reached | the proxy in `HTTPS_PROXY` | correct it, or add the host to `NO_PROXY` |
//! | a proxy … rejected the request | HTTP 407, or 403 without an error code | credentials for the proxy, or `NO_PROXY` |
//! | no credentials found | no provider of the chain has any | `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, or a role |
//! | the credentials cannot be loaded | the provider failed, or takes longer than 10 s | sign in, check the role and the metadata service |
//! | the credentials have expired | `ExpiredToken` | renew them |
//! | unknown access key | `UnrecognizedClientException`, `InvalidClientTokenId` | the key, its session token, the partition, a region that must be enabled |
//! | … rejects the signature | `InvalidSignatureException`, `IncompleteSignature` | the secret key; region and endpoint that fit; a proxy that keeps the headers |
//! | … rejects the time | the clock is off by more than five minutes | synchronize it |
//! | the KMS key of stream … cannot be used | the key is disabled, or its policy denies the role | enable it, allow `kms:GenerateDataKey` |
//! | the request cannot be built | no HTTP client, an invalid endpoint URL | complete the client |
//!
//! The check passes for a role without `kinesis:DescribeStreamSummary`, since sending does not need it, for throttling
//! and HTTP 5xx, since the sink retries them, and for a server that does not know the operation. In each of these cases
//! it logs a line at INFO. So a check that passes does not prove that PutRecords is allowed.
//!
//! A sink over a [custom stack](crate::SinkBuilder::build_with) checks with its
//! [source of descriptions](crate::SinkBuilder::with_stream_info). Without one the check passes.
//!
//! `SSL_CERT_FILE` replaces the certificates of the system, so its file must contain all that are needed. The AWS SDK
//! for Rust does not read `AWS_CA_BUNDLE`, or `ca_bundle` in a profile. `from_env` logs a warning if `AWS_CA_BUNDLE` is
//! set and neither `SSL_CERT_FILE` nor `SSL_CERT_DIR` is. Without any trusted certificate, the SDK panics in a debug
//! build: `no valid root certificates parsed`.
//!
//! # Errors of sinks and producers
//!
//! Both return an [`Error`](crate::Error) with a [kind](crate::ErrorKind):
//!
//! | kind | from | records | what to do |
//! |---|---|---|---|
//! | `RecordTooLarge`, `InvalidPartitionKey` | both | in the error | the record can never be sent: fix it, or store it elsewhere |
//! | `Full` | both | in the error | wait for capacity (`poll_ready`, `feed`, `put`), or try again later |
//! | `Closed` | both | in the error | create a new sink or producer |
//! | `Refused` | both | accepted ones stay, in order; a new one is in the error | the service refuses every request (permissions, stream, credentials): fix the cause. A sink retries at its next poll, a producer retries in its driver. Or call `take_undelivered` |
//! | `Undelivered` | both | kept for `take_failed`; in the error of `close` and of `call` | [take them](crate::Producer::take_failed): they count towards the buffer |
//! | `Stopped`, `Abandoned` | producer | `close` returns those that were left | fix the cause, then create a new producer |
//! | `Unusable` | [`check`](crate::KinesisSink::check) | | the message names the cause and the fix |
//! | `Build` | `from_env` | | see [building a sink](#building-a-sink) |
//!
//! A record that is not accepted is in the error, and the sink stays usable:
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
//! `forward` and `send_all` of futures stop at the first error, also at one of the source, which they return without a
//! flush. Accepted records stay in the sink: call `close().await` to send them. At an error of the sink they drop the
//! item that they hold, which was not accepted. Call `feed` in a loop if this matters.
//!
//! # From an error to its outcome
//!
//! Each failed request has an [`ErrorClass`](crate::service::ErrorClass), and each failed entry of a response an
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
//!   lower the        count no       after repeated           count no                bisect until
//!   rate, redraw     attempt        failures: smaller        attempt                 the record
//!   random keys                     requests, isolate                                is alone
//!       |               |                  |                     |                        |
//!       +---------------+-----------+------+---------------------+                        |
//!                                   v                            v                        |
//!                     requeue, back off, send again        Fatal: at once; Credentials    |
//!                                   |                      and Blocked: after 5 minutes   |
//!              deadline passed, or  |                      without success: the error     |
//!             no attempts left (**) |                      is reported as Refused (*)     |
//!                                   v                                                     |
//!                       record fails for good <-------------------------------------------+
//!                                   |
//!                                   +--> with a receipt             completes the receipt
//!                                   +--> with a dead-letter handler passed to the handler
//!                                   +--> otherwise                  kept, error Undelivered
//!
//!   (*)  The records stay buffered. A KinesisSink retries when it is polled again. A Producer stops
//!        and returns its records, or retries, depending on its FatalPolicy.
//!   (**) By default there is neither a deadline nor a limit of attempts.
//! ```
//!
//! [`with_classify`](crate::SinkBuilder::with_classify) changes the classes. By default they are:
//!
//! | class | the sink | you |
//! |---|---|---|
//! | `Throttled` | retries at a lower rate: to the shard of a throttled entry, or all requests after a throttled request. Random keys are drawn again | check the [rate](super::pacing), or the number of shards |
//! | `OutcomeUnknown` | retries; the records may be written twice | expect [duplicates](#unknown-outcomes-and-duplicates) |
//! | `Transient`, of an entry | retries after a backoff of its shard | |
//! | `Blocked`: HTTP 4xx without an error code | retries as for `OutcomeUnknown`; as for `Fatal` if no request succeeds for [five minutes](crate::Settings::credentials_timeout). A record that fails alone on a stream that has accepted others does not count: it is retried and reported | look for a proxy or firewall in between |
//! | `NotSent` | retries, counts no attempt | |
//! | `Credentials` | retries for [five minutes](crate::Settings::credentials_timeout), since credentials refresh; then as for `Fatal` | renew the credentials |
//! | `Fatal` | reports the error immediately, keeps the records | fix the cause |
//! | `Invalid`, or `Rejected` of an entry | bisects the request or aggregate until the invalid record is alone; that record fails, the others are sent | check the record |
//!
//! # Retries and backoff
//!
//! After a failed request, or a response in which every entry failed, the next request waits. The wait is random, up to
//! 100 ms after the first failure; its range doubles with each consecutive one, up to 3 s. Any progress resets it.
//! [`Settings::backoff`](crate::Settings::backoff) has both bounds. While whole requests fail, one request at a time
//! [probes the stream](super::pacing#outages). If only some entries fail, only the lanes of their shards wait.
//!
//! # Log lines
//!
//! The lines have the target `kinesis_sink`. Single retries are not logged above DEBUG; these lines report lasting
//! failures:
//!
//! | level | event | when |
//! |---|---|---|
//! | WARN | requests fail and are retried | at the second failed request in a row, or 5 s after a failed request if none has succeeded since, or after a minute in which requests have failed intermittently |
//! | WARN | requests are refused | at the first refusal that is `Fatal` for a sink, or for a producer that [retries](crate::settings::FatalPolicy::Retry) |
//! | WARN | requests still fail, or are still refused | once a minute |
//! | INFO | requests succeed again | after 10 s without a failure, or earlier when the sink is closed |
//! | WARN | the stream throttles or fails a share of the entries | after a minute of throttled or failed entries, then once a minute |
//! | INFO | the stream accepts all entries again | after 10 s without such an entry |
//! | WARN | records failed for good | at most once a minute, with the number of failed records that the sink keeps |
//! | INFO | the stream was not checked | at a [check](#the-first-request-fails) that passes without a description |
//! | WARN | `AWS_CA_BUNDLE` is not read | in `from_env`, if neither `SSL_CERT_FILE` nor `SSL_CERT_DIR` is set |
//! | ERROR | the producer stopped | once, with the cause and the number of records returned |
//!
//! Failures less than 10 s apart are one outage. A single failed request is not an outage: a stale connection normally
//! causes one. A line about an outage has its duration, the number of requests and of failed ones, the records
//! queued and in flight, the age of the oldest record, and the latest error. The line at the end has the duration and
//! the totals. While no records are queued, no request is made and no reminder is logged. A sink logs only while it is
//! polled.
//!
//! # Requests that fail repeatedly
//!
//! A request can fail as a whole because of one record, which a firewall or the service refuses, or because it is too
//! large for the link. So if a request fails (`OutcomeUnknown`, `Blocked`) and one of its records has failed before,
//! the next request has half of its entries, down to one. Each response doubles the size again, up to the size that is
//! expected to complete within the timeout.
//!
//! A record that fails repeatedly as the only one of its request is **isolated**: it is queued behind all others
//! and retried alone, with a separate backoff and in one slot at most. An aggregate is bisected until the record is
//! found. An entry is also isolated after it has failed five times in a row (`InternalFailure`) while other entries of
//! its requests were delivered. An isolated record
//!
//! - does not fail because of that: only [a deadline or a limit of attempts](#deadlines-and-attempts) fails it;
//! - delays no other records, except the later records of its key with
//!   [`RecordOrdering::PerKey`](crate::RecordOrdering::PerKey). While a record is isolated,
//!   [`Aggregation::PerShard`](crate::Aggregation::PerShard) with ordering packs aggregates of one key each;
//! - does not count as an outage while other records are delivered.
//!
//! During an outage every record fails. Some are isolated then, one with each probe, and are sent in growing
//! requests after the outage: without [ordering](super::ordering) they arrive later than others.
//!
//! If the same records time out repeatedly, the timeout of a request doubles as well, from the
//! [request timeout](crate::Settings::request_timeout) up to a
//! [maximum](crate::Settings::max_request_timeout). Fast responses restore it. The default stack
//! and [`TimeoutLayer`](crate::timeout::TimeoutLayer) support this; tower's own timeout does not.
//!
//! # Records that fail for good
//!
//! [`FailureReason`](crate::record::FailureReason) has the reason:
//!
//! | reason | when |
//! |---|---|
//! | `Rejected` | the service rejects this record, and retries do not help |
//! | `AttemptsExhausted` | only with [`max_attempts`](crate::Settings::max_attempts) |
//! | `DeadlineExceeded` | only with [`with_deadline`](crate::SinkBuilder::with_deadline): the record was not delivered in time |
//! | `Refused` | a producer stopped because the service refuses every request |
//! | `Withdrawn` | `take_undelivered` or `close_within` returned the record |
//! | `Abandoned` | the sink or the driver was dropped, was aborted or panicked |
//! | `NotAccepted` | `put_all`: the producer did not accept the record |
//! | `Dropped` | the record was dropped before a sink accepted it |
//!
//! A record that failed for good (the first four) completes its receipt. Without a receipt it goes to the dead-letter
//! handler. Without a handler it stays in the sink, counts towards the bounds, and is reported as an error.
//!
//! # Dead letters
//!
//! A handler runs inside the poll methods, so it must not block. The sender of a tokio channel is a handler, and a
//! task can receive the records and await a store:
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
//! If the channel is full, or closed because the task has failed, the sink keeps the record. A custom handler can
//! refuse a record as well: [`DeadLetterHandler::put`](crate::record::DeadLetterHandler::put) returns a record that the
//! sink should keep. For a handler that takes all records,
//! [`with_dead_letters`](crate::SinkBuilder::with_dead_letters) accepts a closure.
//!
//! With the feature `serde` an [`Undelivered`](crate::Undelivered#serialized-form) can be stored as a line of JSON. It
//! names its stream, and its record can be read back and sent again.
//!
//! # Deadlines and attempts
//!
//! Both are off by default. Set a deadline if old records are worthless, or if a caller awaits the receipt. It counts
//! from acceptance. A record in flight at the deadline fails only if the attempt fails. Prefer the deadline to a limit
//! of attempts, which is reached early in a short outage with fast errors, and late with slow ones.
//!
//! # Unknown outcomes, and duplicates
//!
//! A request that timed out, lost its connection or got HTTP 5xx may have been written. Its records are sent again, so
//! delivery is **at least once**. [`Undelivered::may_have_been_written`] returns whether the stream may contain an
//! undelivered record. If duplicates matter, put an id into the data and let consumers skip ids that they have seen.
//!
//! # Shutting down
//!
//! | event | records |
//! |---|---|
//! | `close().await` | all are settled first; this takes as long as an outage lasts |
//! | `producer.close_within(limit).await` | those left after the limit are in the [error](crate::Error::into_undelivered) |
//! | a sink is dropped | abandoned: receipts complete with `Abandoned`, a WARN has the number |
//! | the last handle of a producer is dropped | drained in the background, as long as the runtime lives |
//! | the driver is dropped or aborted, or panics | receipts complete with `Abandoned`; records without one are kept for `take_failed` |
//! | the process is killed | accepted and undelivered ones are lost: the buffer is in memory |
//!
//! To survive a kill, store the source's position only up to the oldest record that is not delivered. The
//! [chapter on producers](super::producer#committing-offsets) shows how.
//!
//! # Panics
//!
//! If a service, a layer or a classifier panics, no record is lost: the outcome of its request counts as unknown. If a
//! dead-letter handler panics, the record that it was given is lost. Sinks and drivers panic if they are not polled in
//! a tokio runtime whose timer is enabled.
//!
//! [`Undelivered::may_have_been_written`]: crate::Undelivered::may_have_been_written
