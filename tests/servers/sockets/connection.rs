//! Forwards the requests and responses of one connection through the proxy, and injects faults into them.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::fault::{Fault, ResponseFault};
use super::fault_plan::FaultPlan;

pub async fn serve(mut client: TcpStream, plan: &FaultPlan) -> io::Result<()> {
    if plan.take_reset() {
        return reset(&client, plan);
    }
    let mut server = TcpStream::connect(plan.server).await?;
    while let Some(first) = first_byte(&client).await? {
        if !first.is_ascii_uppercase() {
            plan.record_not_http();
            return copy_bidirectional(&mut client, &mut server).await.map(drop);
        }
        match plan.next_fault() {
            None => {
                let request = message(&mut client).await?;
                let response = tokio::select! {
                    response = exchange(&mut server, &request, plan) => response?,
                    // The client has timed out and closed the connection. This happens only on a busy machine.
                    _ = first_byte(&client) => return Ok(()),
                };
                client.write_all(&response).await?;
                plan.record_served(records_in(&request));
            }
            Some(fault) => return inject(fault, client, server, plan).await,
        }
    }
    Ok(())
}

async fn inject(
    fault: Fault,
    mut client: TcpStream,
    mut server: TcpStream,
    plan: &FaultPlan,
) -> io::Result<()> {
    match fault {
        Fault::Reset => return reset(&client, plan),
        Fault::TrickleRequest => {
            plan.record_fault();
            return trickle(&mut client, &mut server).await;
        }
        Fault::Close => drop(message(&mut client).await?),
        Fault::Respond(response) => {
            message(&mut client).await?;
            client.write_all(&response).await?;
        }
        Fault::Response(fault) => {
            let request = message(&mut client).await?;
            let response = exchange(&mut server, &request, plan).await?;
            assert!(response.starts_with(b"HTTP/1.1 200"), "the server has written the records");
            return inject_response(fault, &response, client, plan).await;
        }
    }
    plan.record_fault();
    Ok(())
}

async fn inject_response(
    fault: ResponseFault,
    response: &[u8],
    mut client: TcpStream,
    plan: &FaultPlan,
) -> io::Result<()> {
    plan.record_fault();
    match fault {
        ResponseFault::Reset => client.set_zero_linger(),
        ResponseFault::Truncated => client.write_all(&response[..response.len() / 2]).await,
        ResponseFault::Missing => client.read_u8().await.map(drop),
        ResponseFault::Trickle => trickle(&mut &*response, &mut client).await,
        ResponseFault::Replaced(bytes) => client.write_all(&bytes).await,
    }
}

fn reset(client: &TcpStream, plan: &FaultPlan) -> io::Result<()> {
    plan.record_fault();
    client.set_zero_linger()
}

/// Peeks at the next byte. Returns `None` at the end of the connection.
async fn first_byte(client: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let read = client.peek(&mut first).await?;
    Ok((read == 1).then_some(first[0]))
}

async fn exchange(server: &mut TcpStream, request: &[u8], plan: &FaultPlan) -> io::Result<Bytes> {
    plan.record_forwarded(records_in(request));
    server.write_all(request).await?;
    message(server).await
}

async fn message(from: &mut TcpStream) -> io::Result<Bytes> {
    let mut message = BytesMut::new();
    let mut length = None;
    while length.is_none_or(|length| message.len() < length) {
        if from.read_buf(&mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        length = length.or_else(|| message_length(&message));
    }
    Ok(message.freeze())
}

/// Returns the length of the whole message, or `None` if the message head is incomplete.
fn message_length(message: &[u8]) -> Option<usize> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&message[..end]).expect("a head is text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some(end + length.map_or(0, |length| length.trim().parse::<usize>().expect("a number")))
}

/// Copies one byte per second until one side fails.
async fn trickle(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    loop {
        let byte = from.read_u8().await?;
        to.write_u8(byte).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Counts the records of a JSON request. Payloads cannot match, because base64 contains no quotes.
fn records_in(request: &[u8]) -> usize {
    let member = br#""Data":"#;
    request.windows(member.len()).filter(|window| window == member).count()
}
