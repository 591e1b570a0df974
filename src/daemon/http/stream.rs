//! Changes as they come, over a WebSocket: first the newest of everything asked for, then every change.
//!
//! A client costs a number: how far it was told. What it did not take in time of state it gets as the newest value;
//! who falls so far behind that events are forgotten, or takes nothing at all, is closed. So no client can slow the
//! daemon or fill its memory.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::params::Params;
use super::problem::Problem;
use super::routes::Answered;
use super::{Shared, stopped};
use crate::daemon::board::{Behind, Channel, Interest};
use crate::message::fields::short;
use crate::message::json::Object;

/// Changes that are taken from the board at once.
const CHANGES_MAX: usize = 64;
/// Bytes that a client may say at once; it has nothing to say.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Bytes that are read and written at once for each client.
const BUFFER_BYTES: usize = 4 * 1_024;
/// The protocol that a page asks for when it gives its token as another one.
const PROTOCOL: &str = "tradebus";

pub async fn stream(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answered {
    let interest = interest_of(query.as_deref())?;
    let upgrade = upgrade.map_err(|_| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "this path is a WebSocket")
    })?;
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let streams = shared.context.limits.streams;
        let detail = format!("{streams} streams are open, which is the limit");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(|socket| async move { run(socket, &shared, &interest, permit).await }))
}

fn interest_of(query: Option<&str>) -> Result<Interest, Problem> {
    let params = Params::read(query, &["channels", "strategy", "symbol"])?;
    let mut channels = 0;
    for word in params.text("channels").unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        let Some((_, channel)) = Channel::ALL.iter().find(|(name, _)| *name == word) else {
            let known: Vec<&str> = Channel::ALL.iter().map(|(name, _)| *name).collect();
            let (word, known) = (short(word), known.join(", "));
            return Err(Problem::malformed(format!("channels: {word:?} is not one of {known}")));
        };
        channels |= *channel as u16;
    }
    if channels == 0 {
        channels = !(Channel::Ticks as u16);
    }
    Ok(Interest {
        channels,
        strategy: params.strategy()?.map(|id| id.to_string()),
        symbol: params.symbol()?.map(|symbol| symbol.to_string()),
    })
}

/// Why a stream ends.
enum End {
    /// The connection does.
    Gone,
    /// We close it.
    Close(u16, &'static str),
}

async fn run(mut socket: WebSocket, shared: &Shared, interest: &Interest, _permit: OwnedSemaphorePermit) {
    if let Err(End::Close(code, reason)) = tell(&mut socket, shared, interest).await {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // Whoever takes nothing does not take this either.
        let _ = socket.send(Message::Close(Some(frame))).await;
    }
}

async fn tell(socket: &mut WebSocket, shared: &Shared, interest: &Interest) -> Result<(), End> {
    let board = &shared.context.board;
    let (mut changes, mut stop) = (shared.changes.clone(), shared.stop.clone());
    let begun = board.number();
    let mut number = 0;
    let mut complete = false;
    let ping = shared.context.limits.ping;
    let mut pings = interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = true;
    loop {
        changes.mark_unchanged();
        let behind = |Behind| End::Close(close_code::AGAIN, "too slow: events were missed");
        let (reached, frames) = board.since(number, begun, interest, CHANGES_MAX).map_err(behind)?;
        let more = reached > number;
        number = reached;
        for frame in frames {
            let text = Utf8Bytes::try_from(frame).map_err(|_| End::Gone)?;
            send(socket, Message::Text(text)).await?;
        }
        if !complete && number >= begun {
            complete = true;
            send(socket, Message::Text(marker(number).into())).await?;
        }
        if more {
            // What the client says, and a stop, are heard between two parts of a long snapshot.
            if *stop.borrow() {
                return Err(End::Close(close_code::AWAY, "the daemon stops"));
            }
            continue;
        }
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return Err(End::Close(close_code::AWAY, "the daemon stops")),
            heard = socket.recv() => match heard {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => alive = true,
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    return Err(End::Close(close_code::POLICY, "this stream takes no messages"));
                }
                _ => return Err(End::Gone),
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut alive) {
                    return Err(End::Gone);
                }
                send(socket, Message::Ping(bytes::Bytes::new())).await?;
            }
            changed = changes.changed() => changed.map_err(|_| End::Gone)?,
        }
    }
}

/// Says that the newest of everything was told, and that changes follow.
fn marker(number: u64) -> String {
    Object::new().integer("seq", number).text("topic", "stream").text("payload", "complete").finish()
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    socket.send(message).await.map_err(|_| End::Gone)
}
