//! One connection through the proxy.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::fault::{Fault, Spoilt};
use super::fault_plan::Orders;

/// Passes requests and answers on until the connection ends, one after the other, as HTTP/1.1 has them.
pub async fn serve(mut client: TcpStream, orders: &Orders) -> io::Result<()> {
    if orders.takes_reset() {
        return reset(&client, orders);
    }
    let mut server = TcpStream::connect(orders.server).await?;
    while let Some(first) = first_byte(&client).await? {
        if !first.is_ascii_uppercase() {
            orders.note_not_http();
            return copy_bidirectional(&mut client, &mut server).await.map(drop);
        }
        match orders.take() {
            None => {
                let request = message(&mut client).await?;
                let answer = tokio::select! {
                    answer = ask(&mut server, &request, orders) => answer?,
                    // It has run out of patience: only a busy machine comes to this.
                    _ = first_byte(&client) => return Ok(()),
                };
                client.write_all(&answer).await?;
                orders.note_served(records_in(&request));
            }
            Some(fault) => return spoil(fault, client, server, orders).await,
        }
    }
    Ok(())
}

async fn spoil(
    fault: Fault,
    mut client: TcpStream,
    mut server: TcpStream,
    orders: &Orders,
) -> io::Result<()> {
    match fault {
        Fault::Reset => return reset(&client, orders),
        Fault::TrickleRequest => {
            orders.note_fault();
            return trickle(&mut client, &mut server).await;
        }
        Fault::Close => drop(message(&mut client).await?),
        Fault::Answer(answer) => {
            message(&mut client).await?;
            client.write_all(&answer).await?;
        }
        Fault::Spoil(spoilt) => {
            let request = message(&mut client).await?;
            let answer = ask(&mut server, &request, orders).await?;
            assert!(answer.starts_with(b"HTTP/1.1 200"), "the server has written the records");
            return spoil_answer(spoilt, &answer, client, orders).await;
        }
    }
    orders.note_fault();
    Ok(())
}

async fn spoil_answer(
    spoilt: Spoilt,
    answer: &[u8],
    mut client: TcpStream,
    orders: &Orders,
) -> io::Result<()> {
    orders.note_fault();
    match spoilt {
        Spoilt::Reset => client.set_zero_linger(),
        Spoilt::Half => client.write_all(&answer[..answer.len() / 2]).await,
        // The client closes the connection some time.
        Spoilt::Never => client.read_u8().await.map(drop),
        Spoilt::Trickle => trickle(&mut &*answer, &mut client).await,
        Spoilt::Other(bytes) => client.write_all(&bytes).await,
    }
}

/// What was read and what was not goes the same way.
fn reset(client: &TcpStream, orders: &Orders) -> io::Result<()> {
    orders.note_fault();
    client.set_zero_linger()
}

/// None at the end of the connection. The byte stays in it.
async fn first_byte(client: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let read = client.peek(&mut first).await?;
    Ok((read == 1).then_some(first[0]))
}

async fn ask(server: &mut TcpStream, request: &[u8], orders: &Orders) -> io::Result<Bytes> {
    orders.note_asked(records_in(request));
    server.write_all(request).await?;
    message(server).await
}

/// Reads one request or answer: its head, and as many bytes as that says.
async fn message(from: &mut TcpStream) -> io::Result<Bytes> {
    let mut message = BytesMut::new();
    let mut whole = None;
    while whole.is_none_or(|whole| message.len() < whole) {
        if from.read_buf(&mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        whole = whole.or_else(|| whole_length(&message));
    }
    Ok(message.freeze())
}

/// The length of the message that begins so, once its head is complete.
fn whole_length(message: &[u8]) -> Option<usize> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&message[..end]).expect("a head is text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some(end + length.map_or(0, |length| length.trim().parse::<usize>().expect("a number")))
}

/// A byte a second, until one of the ends breaks.
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

/// How many records a request in JSON carries: payloads are in base64, so no payload looks like that.
fn records_in(request: &[u8]) -> usize {
    let member = br#""Data":"#;
    request.windows(member.len()).filter(|window| window == member).count()
}
