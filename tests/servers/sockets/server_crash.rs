//! Tests of a server that crashes while it processes requests. It restarts on the same port and keeps its records.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};

use super::rig::{Rig, builder, forward, in_time, payloads, put_all, wait_until};
use crate::support::embedded::Embedded;
use crate::support::read_back::Found;

struct CrashingServer {
    app: Router,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl CrashingServer {
    fn new(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self { app, address: listener.local_addr().unwrap(), runtime: None };
        server.serve(listener);
        server
    }

    /// Serves on a separate runtime, so that a crash can drop the server's tasks.
    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = self.app.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await
        });
        self.runtime = Some(runtime);
    }

    fn crash(&mut self) {
        self.runtime.take().expect("the server is running").shutdown_background();
    }

    async fn restart(&mut self) {
        loop {
            // The port is in use until the previous runtime has shut down.
            if let Ok(listener) = TcpListener::bind(self.address) {
                return self.serve(listener);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for CrashingServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const RECORDS: Range<usize> = 0..2_000;
const DELIVERED: &str = "; 100 delivered";
const REFUSED: &str = "Connection refused";

/// Returns a crashing server, and a rig with a second server that shares its state.
async fn start() -> (Rig, CrashingServer) {
    let mut app = None;
    let keep = |router: Router| app.insert(router).clone();
    let server = Embedded::start_in(2, false, keep).await.unwrap();
    (Rig::with(server), CrashingServer::new(app.unwrap()))
}

/// Crashes the server with requests in flight, and restarts it after connections have been refused.
async fn crash_three_times(server: &mut CrashingServer, rig: &Rig) {
    let lines = |text| rig.logs.with(text).len();
    for _ in 0..3 {
        let before = lines(DELIVERED);
        wait_until(|| lines(DELIVERED) >= before + 3).await;
        let before = lines(REFUSED);
        server.crash();
        wait_until(|| lines(REFUSED) >= before + 2).await;
        server.restart().await;
    }
}

async fn assert_delivered(rig: &Rig, requeued: u64) {
    let Found { records, missing, duplicated } = rig.find(payloads(RECORDS)).await;
    assert_eq!((records, missing), (RECORDS.len(), 0));
    assert!(duplicated as u64 <= requeued, "{duplicated} of {requeued}");
    rig.assert_logs(REFUSED);
}

#[tokio::test]
async fn forward_delivers_records_across_crashes() {
    let (rig, mut server) = start().await;
    let client = rig.client_of(&format!("http://{}", server.address));
    let mut sink = builder().build(&client).unwrap();
    let crashes = in_time(crash_three_times(&mut server, &rig));
    let (forwarded, ()) = tokio::join!(forward(&mut sink, RECORDS), crashes);
    forwarded.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS.len() as u64, 0));
    assert_delivered(&rig, sink.totals().requeued).await;
}

#[tokio::test]
async fn receipts_are_correct_after_server_crashes() {
    let (rig, mut server) = start().await;
    let client = rig.client_of(&format!("http://{}", server.address));
    let producer = builder().build(&client).unwrap().spawn();
    let crashes = in_time(crash_three_times(&mut server, &rig));
    let (outcomes, ()) = tokio::join!(put_all(&producer, RECORDS), crashes);
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    rig.assert_receipts(&receipts).await;
    assert_delivered(&rig, producer.status().totals.requeued).await;
}
