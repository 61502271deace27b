//! Tests of servers that start after the sink, or that close their port and all connections and listen again.

use std::ops::Range;

use super::rig::{Rig, builder, forward, in_time, payloads, put_all, wait_until};
use crate::support::read_back::Found;

const REFUSED: &str = "Connection refused";

const REQUESTS: usize = 3;

impl Rig {
    async fn listen_after_refusals(&mut self, refusals: usize) {
        let before = self.logs.with(REFUSED).len();
        wait_until(|| self.logs.with(REFUSED).len() >= before + refusals).await;
        self.proxy.start_listening();
    }

    async fn restart_three_times(&mut self) {
        for _ in 0..3 {
            let before = self.plan().served();
            wait_until(|| self.plan().served() >= before + REQUESTS).await;
            self.proxy.stop_listening().await;
            self.listen_after_refusals(2).await;
        }
    }
}

const RECORDS: Range<usize> = 0..2_000;

async fn assert_delivered(rig: &Rig) {
    let found = rig.find(payloads(RECORDS)).await;
    assert_eq!((found.records, found.missing), (RECORDS.len(), 0));
    // Records in flight during a restart are sent again, although they might have been written.
    let unanswered = rig.plan().unanswered();
    assert!(found.duplicated <= unanswered, "{} of {unanswered}", found.duplicated);
    rig.assert_logs(REFUSED);
    // Restarts less than 10 s apart count as one outage.
    assert_eq!(rig.logs.with("succeed again").len(), 1, "{:#?}", rig.logs.lines());
}

#[tokio::test]
async fn late_server_receives_each_record_once() {
    let mut rig = Rig::start_refusing().await;
    let mut sink = rig.sink(builder());
    let (forwarded, ()) = tokio::join!(forward(&mut sink, 0..1_000), rig.listen_after_refusals(5));
    forwarded.unwrap();
    assert_eq!(
        rig.find(payloads(0..1_000)).await,
        Found { records: 1_000, missing: 0, duplicated: 0 }
    );
    rig.assert_logs(REFUSED);
    assert_eq!(rig.logs.with("succeed again").len(), 1);
}

#[tokio::test]
async fn forward_delivers_records_across_restarts() {
    let mut rig = Rig::start().await;
    let mut sink = rig.sink(builder());
    let (forwarded, ()) =
        tokio::join!(forward(&mut sink, RECORDS), in_time(rig.restart_three_times()));
    forwarded.unwrap();
    assert_eq!((sink.totals().delivered, sink.status().failed.records), (RECORDS.len() as u64, 0));
    drop(sink);
    assert_delivered(&rig).await;
}

#[tokio::test]
async fn receipts_are_correct_after_restarts() {
    let mut rig = Rig::start().await;
    let producer = rig.sink(builder()).spawn();
    let (outcomes, ()) =
        tokio::join!(put_all(&producer, RECORDS), in_time(rig.restart_three_times()));
    in_time(producer.close()).await.unwrap();
    let receipts: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(receipts.len(), RECORDS.len());
    rig.assert_receipts(&receipts).await;
    assert_delivered(&rig).await;
}
