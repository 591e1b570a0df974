//! Frames of the public stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dropped::{DropReason, Dropped};
use super::request::{Channel, PONG, Topic};
use super::{FRAME_BYTES_MAX, wire};

/// An inbound frame.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The answer to our ping.
    Pong,
    /// A topic is subscribed to.
    Subscribed(Topic),
    /// A topic is no longer subscribed to.
    Unsubscribed(Topic),
    /// The venue refuses something. Which topic it was only stands in the words.
    Error {
        /// Its code, such as `60012`.
        code: String,
        /// Its words, at most 1,000 characters.
        text: String,
    },
    /// Rows of a topic.
    Data {
        /// The topic.
        topic: Topic,
        /// At least none.
        rows: Vec<&'a RawValue>,
    },
    /// A frame of a kind or channel that is not asked for.
    Other,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event: wire::Raw<'a>,
    #[serde(borrow)]
    arg: Option<Arg<'a>>,
    #[serde(borrow)]
    code: wire::Raw<'a>,
    #[serde(borrow)]
    msg: wire::Raw<'a>,
    #[serde(borrow)]
    data: wire::Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg<'a> {
    #[serde(borrow)]
    channel: wire::Raw<'a>,
    #[serde(borrow)]
    inst_id: wire::Raw<'a>,
}

/// Reads a text frame.
///
/// # Errors
/// When it is none of the documented ones, or longer than [`FRAME_BYTES_MAX`].
pub fn read(frame: &str) -> Result<Frame<'_>, Dropped> {
    if frame == PONG {
        return Ok(Frame::Pong);
    }
    if frame.len() > FRAME_BYTES_MAX {
        return Err(Dropped::new(DropReason::Malformed, "frame", "longer than 1 MiB"));
    }
    let wire: Wire =
        serde_json::from_str(frame).map_err(|_| Dropped::new(DropReason::Malformed, "frame", frame))?;
    let event = wire::text(wire.event);
    if event.as_deref() == Some("error") {
        return Ok(Frame::Error {
            code: wire::text(wire.code).unwrap_or_default().chars().take(16).collect(),
            text: wire::text(wire.msg).unwrap_or_default().chars().take(1_000).collect(),
        });
    }
    let Some(topic) = topic(wire.arg.as_ref())? else { return Ok(Frame::Other) };
    match event.as_deref() {
        Some("subscribe") => Ok(Frame::Subscribed(topic)),
        Some("unsubscribe") => Ok(Frame::Unsubscribed(topic)),
        Some(_) => Ok(Frame::Other),
        None => Ok(Frame::Data { topic, rows: wire::rows(wire.data)? }),
    }
}

/// The topic of a frame; `None` without one, and for channels that are not asked for.
fn topic(arg: Option<&Arg>) -> Result<Option<Topic>, Dropped> {
    let Some(arg) = arg else { return Ok(None) };
    let Some(channel) = wire::text(arg.channel).and_then(|name| Channel::parse(&name)) else {
        return Ok(None);
    };
    Ok(Some((channel, wire::symbol("instId", arg.inst_id)?)))
}
