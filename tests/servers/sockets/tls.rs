//! Tests of connections on which only one side uses TLS.

use super::fault::Fault;
use super::persistent_faults::{fail_after_attempts, withdraw};
use super::rig::{Rig, builder};

#[tokio::test]
async fn tls_to_plain_port_returns_records() {
    const CAUSE: &str = "TLS handshake failed";
    let rig = Rig::start().await;
    let client = rig.client_of(&format!("https://{}", rig.proxy.address()));
    let sink =
        builder().configure(|settings| settings.max_attempts = Some(2)).build(&client).unwrap();
    let failed = fail_after_attempts(sink, CAUSE).await;
    let sink = builder().build(&client).unwrap();
    let withdrawn = withdraw(&rig, sink, CAUSE).await;
    rig.assert_logs(CAUSE);
    assert!(rig.plan().not_http() > 0);
    rig.redeliver(failed).await;
    rig.redeliver(withdrawn).await;
}

/// Response of a TLS server to plain text. It is the fatal alert `unexpected_message`, see section 6 of RFC 8446.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

#[tokio::test]
async fn plain_http_to_tls_port_returns_records() {
    for (fault, cause) in
        [(Fault::Respond(ALERT.to_vec().into()), "invalid HTTP"), (Fault::Close, "closed")]
    {
        let rig = Rig::start().await;
        rig.plan().inject_all(&fault);
        let sink = rig.sink(builder().configure(|settings| settings.max_attempts = Some(2)));
        let failed = fail_after_attempts(sink, cause).await;
        let withdrawn = withdraw(&rig, rig.sink(builder()), cause).await;
        rig.assert_logs(cause);
        assert!(rig.plan().faults() > 0);
        rig.plan().serve_all();
        rig.redeliver(failed).await;
        rig.redeliver(withdrawn).await;
    }
}
