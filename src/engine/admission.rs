//! What a signal is checked for on its own, before position, level and price are looked at.

use rust_decimal::{Decimal, RoundingStrategy};

use super::event::SignalOrigin;
use super::settings::StrategySettings;
use super::signal_rate::Room;
use crate::model::amount::{Price, Ratio};
use crate::model::signal::{Action, Reason, Refusal, Signal};
use crate::model::time::Timestamp;

/// How old a signal may be when it names no `max_age_s`, in milliseconds.
pub const AGE_MS_MAX: i64 = 30_000;
/// The same for `flat`.
pub const AGE_FLAT_MS_MAX: i64 = 300_000;
/// How far in the future a signal's time may lie, in milliseconds.
pub const FUTURE_MS_MAX: i64 = 5_000;

/// Whether the signal has a size, its own or the strategy's.
pub(super) fn check_size(settings: &StrategySettings, signal: &Signal) -> Result<(), Refusal> {
    let size = signal.size.or(settings.default_size);
    if size.is_none() && signal.action != Action::Flat {
        let detail = format!(
            "quantity: missing, also notional, equity_pct and risk_pct, and {} has no default_size",
            settings.id
        );
        return Err(Refusal::new(Reason::Malformed, detail));
    }
    Ok(())
}

/// Whether the signal is neither too old nor from the future.
pub(super) fn check_age(at: Timestamp, signal: &Signal) -> Result<(), Refusal> {
    let usual = if signal.action == Action::Flat { AGE_FLAT_MS_MAX } else { AGE_MS_MAX };
    check_time(at, signal.time, signal.age_ms_max.unwrap_or(usual))
}

/// Whether a message of this time may still act.
///
/// # Errors
/// `stale` or `from_future`.
pub fn check_time(at: Timestamp, time: Timestamp, age_ms_max: i64) -> Result<(), Refusal> {
    let age_ms = at.since_ms(time);
    let seconds = |ms: i64| ms as f64 / 1000.0;
    if age_ms > age_ms_max {
        let (age, limit) = (seconds(age_ms), seconds(age_ms_max));
        return Err(Refusal::new(
            Reason::Stale,
            format!("time: {time} is {age} s old, the limit is {limit} s"),
        ));
    }
    if age_ms < -FUTURE_MS_MAX {
        let ahead = seconds(-age_ms);
        let detail = format!("time: {time} is {ahead} s in the future, the limit is 5 s");
        return Err(Refusal::new(Reason::FromFuture, detail));
    }
    Ok(())
}

/// Whether the price of an alert is near enough to `ours` for an entry. One that names no price cannot be held against
/// the limit, and so it does not pass it.
pub(super) fn check_deviation(
    origin: SignalOrigin,
    limit_pct: Option<Ratio>,
    ours: Option<Price>,
) -> Result<(), Refusal> {
    let (SignalOrigin::TradingView { price }, Some(limit_pct)) = (origin, limit_pct) else { return Ok(()) };
    let limit = format!("price_deviation_max_pct is {limit_pct}");
    let refuse = |reason, detail: String| Err(Refusal::new(reason, detail));
    let Some(price) = price else {
        return refuse(Reason::PriceDeviation, format!("price: missing, and {limit}"));
    };
    let Some(ours) = ours.filter(|ours| ours.is_positive()) else {
        return refuse(
            Reason::NoPrice,
            format!("there is no price to hold the alert's against, and {limit}"),
        );
    };
    let distance = (price - ours).value().abs() * Decimal::ONE_HUNDRED;
    if distance <= limit_pct.value() * ours.value() {
        return Ok(());
    }
    let far = distance.checked_div(ours.value()).unwrap_or(Decimal::MAX);
    let far = far.round_dp_with_strategy(4, RoundingStrategy::AwayFromZero).normalize();
    refuse(Reason::PriceDeviation, format!("price: {price} is {far} % away from {ours}, and {limit}"))
}

/// The refusal of an entry while the store fails.
pub(super) fn store_fails() -> Refusal {
    let detail = "the store fails: only what closes a position is taken until it works again";
    Refusal::new(Reason::StoreUnavailable, detail)
}

/// A refusal that would have to be remembered is another one when it cannot be: there is no room, or the store fails,
/// where its answer would wait for the disk and stand in the broker's window before an exit.
pub(super) fn kept(room: &Room, signal: &Signal, refusal: Refusal, store_available: bool) -> Refusal {
    match refusal {
        refusal if refusal.reason.frees_id() => refusal,
        _ if !store_available && signal.action != Action::Flat => store_fails(),
        refusal => room.or(signal.action, refusal),
    }
}
