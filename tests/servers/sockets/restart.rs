//! A server that is not there yet, and one whose port goes down with all its connections and comes back.

use std::ops::Range;

use super::rig::{Rig, builder, forward, in_time, payloads, put_all, until};
use crate::support::read_back::Found;

const REFUSED: &str = "Connection refused";

/// Requests that it takes between two restarts.
const REQUESTS: usize = 3;

impl Rig {
    /// Comes up when so many more requests were refused.
    async fn come_up_late(&mut self, refusals: usize) {
        let before = self.logs.with(REFUSED).len();
        until(|| self.logs.with(REFUSED).len() >= before + refusals).await;
        self.proxy.come_up();
    }

    /// Goes down three times, each time with requests under way.
    async fn restart_thrice(&mut self) {
        for _ in 0..3 {
            let before = self.orders().served();
            until(|| self.orders().served() >= before + REQUESTS).await;
            self.proxy.go_down().await;
            self.come_up_late(2).await;
        }
    }
}

/// Many more requests than it takes until the last restart.
const RECORDS: Range<usize> = 0..2_000;

async fn check(rig: &Rig) {
    let found = rig.find(payloads(RECORDS)).await;
    assert_eq!((found.records, found.missing), (RECORDS.len(), 0));
    // What was under way may have been written.
    let unanswered = rig.orders().unanswered();
    assert!(found.duplicated <= unanswered, "{} of {unanswered}", found.duplicated);
    rig.check_logs(REFUSED);
    // Less than 10 s apart, the restarts are one outage.
    assert_eq!(rig.logs.with("succeed again").len(), 1, "{:#?}", rig.logs.lines());
}

#[tokio::test]
async fn late_server_gets_each_record_once() {
    let mut rig = Rig::start_with_the_proxy_down().await;
    let mut sink = rig.sink(builder());
    let (forwarded, ()) = tokio::join!(forward(&mut sink, 0..1_000), rig.come_up_late(5));
    forwarded.unwrap();
    assert_eq!(
        rig.find(payloads(0..1_000)).await,
        Found { records: 1_000, missing: 0, duplicated: 0 }
    );
    rig.check_logs(REFUSED);
    assert_eq!(rig.logs.with("succeed again").len(), 1);
}

#[tokio::test]
async fn forward_survives_restarts() {
    let mut rig = Rig::start().await;
    let mut sink = rig.sink(builder());
    let (forwarded, ()) = tokio::join!(forward(&mut sink, RECORDS), in_time(rig.restart_thrice()));
    forwarded.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS.len() as u64, 0));
    drop(sink);
    check(&rig).await;
}

#[tokio::test]
async fn receipts_survive_restarts() {
    let mut rig = Rig::start().await;
    let producer = rig.sink(builder()).spawn();
    let (outcomes, ()) = tokio::join!(put_all(&producer, RECORDS), in_time(rig.restart_thrice()));
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.len(), RECORDS.len());
    rig.check(&receipts).await;
    check(&rig).await;
}
