//! A server that is killed in the middle of what it does, and comes back at the same port with what it had written.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};

use super::rig::{Rig, builder, forward, in_time, payloads, put_all, until};
use crate::support::embedded::Embedded;
use crate::support::read_back::Found;

/// What a server has, and the port at which it listens while it lives.
struct Mortal {
    app: Router,
    address: SocketAddr,
    life: Option<Runtime>,
}

impl Mortal {
    fn new(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self { app, address: listener.local_addr().unwrap(), life: None };
        server.live(listener);
        server
    }

    /// On threads of its own, which end with it.
    fn live(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = self.app.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await
        });
        self.life = Some(runtime);
    }

    /// Whatever it was doing ends where it was, and all its connections with it.
    fn die(&mut self) {
        self.life.take().expect("it lives").shutdown_background();
    }

    async fn come_back(&mut self) {
        loop {
            // Until the port is free of the life before.
            if let Ok(listener) = TcpListener::bind(self.address) {
                return self.live(listener);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.life.take() {
            runtime.shutdown_background();
        }
    }
}

/// Many more requests than it takes until the last death.
const RECORDS: Range<usize> = 0..2_000;
const DELIVERED: &str = "; 100 delivered";
const REFUSED: &str = "Connection refused";

/// A server whose memory another one reads, which nobody kills.
async fn start() -> (Rig, Mortal) {
    let mut app = None;
    let keep = |router: Router| app.insert(router).clone();
    let server = Embedded::start_in(2, false, keep).await.unwrap();
    (Rig::with(server), Mortal::new(app.unwrap()))
}

/// Is killed three times, each time with requests under way, and stays away until it was missed.
async fn die_thrice(server: &mut Mortal, rig: &Rig) {
    let lines = |what| rig.logs.with(what).len();
    for _ in 0..3 {
        let before = lines(DELIVERED);
        until(|| lines(DELIVERED) >= before + 3).await;
        let before = lines(REFUSED);
        server.die();
        until(|| lines(REFUSED) >= before + 2).await;
        server.come_back().await;
    }
}

/// Everything is there, and there twice only what was sent again.
async fn check(rig: &Rig, requeued: u64) {
    let Found { records, missing, duplicated } = rig.find(payloads(RECORDS)).await;
    assert_eq!((records, missing), (RECORDS.len(), 0));
    assert!(duplicated as u64 <= requeued, "{duplicated} of {requeued}");
    rig.check_logs(REFUSED);
}

#[tokio::test]
async fn forward_survives_server_crashes() {
    let (rig, mut server) = start().await;
    let client = rig.client_of(&format!("http://{}", server.address));
    let mut sink = builder().build(&client).unwrap();
    let deaths = in_time(die_thrice(&mut server, &rig));
    let (forwarded, ()) = tokio::join!(forward(&mut sink, RECORDS), deaths);
    forwarded.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS.len() as u64, 0));
    check(&rig, sink.totals().requeued).await;
}

#[tokio::test]
async fn receipts_survive_server_crashes() {
    let (rig, mut server) = start().await;
    let client = rig.client_of(&format!("http://{}", server.address));
    let producer = builder().build(&client).unwrap().spawn();
    let deaths = in_time(die_thrice(&mut server, &rig));
    let (outcomes, ()) = tokio::join!(put_all(&producer, RECORDS), deaths);
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    rig.check(&receipts).await;
    check(&rig, producer.status().totals.requeued).await;
}
