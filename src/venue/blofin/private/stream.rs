//! Frames of the private stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::login::Channel;
use super::{Instruments, account, row};
use crate::model::trading::VenueReport;
use crate::venue::blofin::FRAME_BYTES_MAX;
use crate::venue::blofin::dropped::{DropReason, Dropped};
use crate::venue::blofin::request::PONG;
use crate::venue::blofin::wire::{self, Raw};

/// An inbound frame.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The answer to our ping.
    Pong,
    /// The login is taken.
    LoggedIn,
    /// A channel is subscribed to.
    Subscribed(Channel),
    /// The venue refuses something: a login (60009), or a subscription.
    Error {
        /// Its code.
        code: String,
        /// Its words, at most 200 characters.
        text: String,
    },
    /// Rows of a channel.
    Data {
        /// The channel.
        channel: Channel,
        /// At least none.
        rows: Vec<&'a RawValue>,
    },
    /// A frame of a kind or channel that is not asked for.
    Other,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    arg: Option<Arg<'a>>,
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    msg: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
}

#[derive(Deserialize)]
struct Arg<'a> {
    #[serde(borrow)]
    channel: Raw<'a>,
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
    let code = wire::text(wire.code).unwrap_or_default();
    let error = || Frame::Error {
        code: code.chars().take(16).collect(),
        text: wire::text(wire.msg).unwrap_or_default().chars().take(200).collect(),
    };
    let channel = wire.arg.as_ref().and_then(|arg| Channel::parse(&wire::text(arg.channel)?));
    Ok(match (wire::text(wire.event).as_deref(), channel) {
        (Some("login"), _) if matches!(&*code, "0" | "") => Frame::LoggedIn,
        (Some("login" | "error"), _) => error(),
        (Some("subscribe"), Some(channel)) => Frame::Subscribed(channel),
        (None, Some(channel)) => Frame::Data { channel, rows: wire::rows(wire.data)? },
        _ => Frame::Other,
    })
}

/// Reads the rows of a channel, one report each. A broken row costs only itself.
pub fn reports(
    channel: Channel,
    rows: &[&RawValue],
    instruments: &Instruments,
    currency: &str,
) -> Vec<Result<VenueReport, Dropped>> {
    let report = |row: &&RawValue| match channel {
        Channel::Orders => row::order(row, instruments).map(|order| VenueReport::Order(Box::new(order))),
        Channel::AlgoOrders => row::stop(row, instruments).map(|stop| VenueReport::Stop(Box::new(stop))),
        Channel::Positions => {
            account::position(row, instruments).map(|position| VenueReport::Position(Box::new(position)))
        }
        Channel::Account => account::balance(row, currency).map(VenueReport::Balance),
    };
    rows.iter().map(report).collect()
}
