//! Tests that the sink recovers from connections that stay open but no longer carry data.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::Bytes;
use futures::SinkExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kinesis_sink::service::{PutRecords, SdkStreamInfo};
use kinesis_sink::stream::StreamInfo;
use kinesis_sink::{KinesisSink, Record, StreamId};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::gate::{Death, Gate};

const AUTHORITY: &[u8] = include_bytes!("certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key");

const HTTP_1: &str = "http/1.1";
const HTTP_2: &str = "h2";

/// A TLS server. Requests to the stream `slow` take three seconds, and requests to `never` get no response.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Server {
    async fn start(protocol: &'static str) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let count = connections.clone();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), count.clone());
                served.spawn(async move {
                    let Ok(socket) = acceptor.accept(socket).await else { return };
                    count.fetch_add(1, Ordering::SeqCst);
                    let socket = TokioIo::new(socket);
                    let _ = match protocol {
                        HTTP_1 => {
                            http1::Builder::new().serve_connection(socket, service_fn(serve)).await
                        }
                        _ => {
                            let builder = http2::Builder::new(TokioExecutor::new());
                            builder.serve_connection(socket, service_fn(serve)).await
                        }
                    };
                });
            }
        });
        Self { address, connections, tasks }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").unwrap().to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    if body.contains(r#""StreamName":"slow""#) {
        sleep(Duration::from_secs(3)).await;
    }
    if body.contains(r#""StreamName":"never""#) {
        std::future::pending().await
    }
    let answer = match target.strip_prefix("Kinesis_20131202.").unwrap() {
        "PutRecords" => {
            let records = body.matches(r#""Data":"#).count();
            let result = r#"{"ShardId":"shardId-000000000000","SequenceNumber":"1"}"#;
            format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, vec![result; records].join(","))
        }
        "ListShards" => r#"{"Shards":[]}"#.to_owned(),
        _ => {
            let summary = r#""StreamName":"example","StreamARN":"arn","StreamStatus":"ACTIVE""#;
            let rest = r#""RetentionPeriodHours":24,"StreamCreationTimestamp":0"#;
            let rest = format!(r#"{rest},"EnhancedMonitoring":[],"OpenShardCount":1"#);
            format!(r#"{{"StreamDescriptionSummary":{{{summary},{rest}}}}}"#)
        }
    };
    let response = Response::builder().header("content-type", "application/x-amz-json-1.1");
    Ok(response.body(answer.into()).unwrap())
}

fn client(address: SocketAddr) -> Client {
    let trusted = TrustStore::empty().with_pem_certificate(AUTHORITY);
    let https = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(TlsContext::builder().with_trust_store(trusted).build().unwrap())
        .build_https();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(format!("https://{address}"))
        .http_client(https);
    Client::from_conf(config.build())
}

fn deaths() -> impl Iterator<Item = (&'static str, Death)> {
    let protocols = [HTTP_1, HTTP_2].into_iter();
    protocols.flat_map(|protocol| [(protocol, Death::Both), (protocol, Death::Answers)])
}

#[tokio::test]
async fn dead_connection_is_replaced_after_one_timeout() {
    for (protocol, death) in deaths() {
        let server = Server::start(protocol).await;
        let gate = Gate::before(server.address).await.unwrap();
        let mut sink = KinesisSink::builder("example")
            .configure(|settings| settings.request_timeout = Duration::from_secs(1))
            .build(&client(gate.address()))
            .unwrap();
        sink.send(Record::from("first")).await.unwrap();
        assert_eq!(server.connections(), 1);
        gate.kill(death);
        let began = Instant::now();
        let sent = timeout(Duration::from_secs(20), sink.send(Record::from("second"))).await;
        let after = began.elapsed();
        let timeouts = sink.totals().requeued;
        assert!(sent.is_ok(), "{protocol}, {death:?}: {timeouts} time-outs in {after:?}");
        println!("{protocol}, {death:?}: delivered after {after:?}, {timeouts} time-outs");
        assert_eq!((server.connections(), timeouts), (2, 1), "{protocol}, {death:?}");
        assert!(after < Duration::from_secs(5), "{protocol}, {death:?}: {after:?}");
    }
}

#[tokio::test]
async fn dead_connection_is_replaced_for_all_sinks() {
    let server = Server::start(HTTP_2).await;
    let gate = Gate::before(server.address).await.unwrap();
    let service = PutRecords::new(&client(gate.address()));
    let sink = |stream| {
        let stack = tower::ServiceBuilder::new().timeout(Duration::from_secs(1));
        KinesisSink::builder(stream).build_with(stack.service(service.clone())).unwrap()
    };
    let (mut one, mut other) = (sink("one"), sink("other"));
    one.send(Record::from("first")).await.unwrap();
    other.send(Record::from("first")).await.unwrap();
    assert_eq!(server.connections(), 1, "the sinks share one connection");
    gate.kill(Death::Both);
    let both = async {
        one.send(Record::from("second")).await.unwrap();
        other.send(Record::from("second")).await.unwrap();
    };
    timeout(Duration::from_secs(10), both).await.expect("the connection is replaced");
    assert_eq!(other.totals().requeued, 0);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn dead_connection_is_replaced_for_lookups() {
    let stream: StreamId = "example".parse().unwrap();
    for (protocol, death) in deaths() {
        let server = Server::start(protocol).await;
        let gate = Gate::before(server.address).await.unwrap();
        let client = client(gate.address());
        let lister = SdkStreamInfo::new(&client);
        lister.list_shards(&stream).unwrap().await.unwrap();
        gate.kill(death);
        timeout(Duration::from_secs(1), lister.list_shards(&stream).unwrap()).await.unwrap_err();
        let again = timeout(Duration::from_secs(5), lister.list_shards(&stream).unwrap()).await;
        again.unwrap_or_else(|_| panic!("ListShards, {protocol}, {death:?}")).unwrap();

        let describer = SdkStreamInfo::new(&client);
        describer.describe_stream(&"other".parse().unwrap()).unwrap().await.unwrap();
        gate.kill(death);
        timeout(Duration::from_secs(1), describer.describe_stream(&stream).unwrap())
            .await
            .unwrap_err();
        let again =
            timeout(Duration::from_secs(5), describer.describe_stream(&stream).unwrap()).await;
        again.unwrap_or_else(|_| panic!("describe, {protocol}, {death:?}")).unwrap();
    }
}

#[tokio::test]
async fn timeout_does_not_fail_concurrent_requests() {
    let server = Server::start(HTTP_2).await;
    let service = PutRecords::new(&client(server.address));
    let sink = |stream| KinesisSink::builder(stream).build_with(service.clone()).unwrap();
    sink("example").send(Record::from("first")).await.unwrap();
    let mut slow = sink("slow");
    let slow = tokio::spawn(async move { slow.send(Record::from("slow")).await.map(|()| slow) });
    sleep(Duration::from_millis(200)).await;
    let mut never = sink("never");
    let sent = timeout(Duration::from_secs(1), never.send(Record::from("never"))).await;
    drop(never);
    assert!(sent.is_err(), "the request is dropped");
    sink("example").send(Record::from("second")).await.unwrap();
    assert_eq!(server.connections(), 2, "later requests use a new connection");
    let slow = slow.await.unwrap().unwrap();
    assert_eq!(
        (slow.totals().delivered, slow.totals().requeued),
        (1, 0),
        "the request in flight succeeds"
    );
}
