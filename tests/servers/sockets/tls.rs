//! TLS on one side only.

use super::fault::Fault;
use super::persistent_faults::{give_up_after_attempts, take_back};
use super::rig::{Rig, builder};

#[tokio::test]
async fn tls_to_plain_port_returns_records() {
    const CAUSE: &str = "TLS handshake failed";
    let rig = Rig::start().await;
    let client = rig.client_of(&format!("https://{}", rig.proxy.address()));
    let sink =
        builder().configure(|settings| settings.max_attempts = Some(2)).build(&client).unwrap();
    let given_up = give_up_after_attempts(sink, CAUSE).await;
    let sink = builder().build(&client).unwrap();
    let withdrawn = take_back(&rig, sink, CAUSE).await;
    rig.check_logs(CAUSE);
    assert!(rig.orders().not_http() > 0);
    rig.deliver(given_up).await;
    rig.deliver(withdrawn).await;
}

/// What a TLS server says to one who speaks plain: a fatal alert, `unexpected_message`. Source: RFC 8446,
/// section 6.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

#[tokio::test]
async fn plain_to_tls_port_returns_records() {
    for (fault, cause) in
        [(Fault::Answer(ALERT.to_vec().into()), "invalid HTTP"), (Fault::Close, "closed")]
    {
        let rig = Rig::start().await;
        rig.orders().spoil_all(&fault);
        let sink = rig.sink(builder().configure(|settings| settings.max_attempts = Some(2)));
        let given_up = give_up_after_attempts(sink, cause).await;
        let withdrawn = take_back(&rig, rig.sink(builder()), cause).await;
        rig.check_logs(cause);
        assert!(rig.orders().faults() > 0);
        rig.orders().serve_all();
        rig.deliver(given_up).await;
        rig.deliver(withdrawn).await;
    }
}
