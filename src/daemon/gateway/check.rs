//! Who the keys belong to and what they may, and the leverage that the configuration wants.

use super::account::{Account, AskError};
use super::budget::Class;
use super::client::Repeat;
use super::orders::known_pairs;
use crate::model::ids::Symbol;
use crate::model::trading::{AccountCheck, MarginMode, PositionMode, PositionSide};
use crate::venue::blofin::answer::Fault;
use crate::venue::blofin::private::account as money;
use crate::venue::blofin::private::answer::{Outcome, is_about_keys, outcome};
use crate::venue::blofin::private::request::{self, LEVERAGE_PAIRS_MAX};

/// Why there is no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The venue does not take the keys: only a person can change that.
    #[error("the venue refuses the keys: {text} ({code})")]
    KeysRefused {
        /// The venue's code.
        code: String,
        /// Its words, without secrets.
        text: String,
    },
    /// It may work later.
    #[error("{0}")]
    Later(String),
}

/// Asks who we are, and sets the leverage of the pairs where it is another one.
///
/// # Errors
/// Why that is not known.
pub async fn check(account: &Account) -> Result<AccountCheck, CheckError> {
    let later = |error: AskError| reason(account, error);
    let first = |rows: Vec<&serde_json::value::RawValue>| {
        rows.first().map(|row| (*row).to_owned()).ok_or_else(|| "an answer without a row".to_owned())
    };
    let row = account.rows(&request::api_key(), Class::Urgent, first).await.map_err(later)?;
    let key = money::key_info(&row).map_err(|dropped| CheckError::Later(dropped.to_string()))?;
    let row = account.rows(&request::position_mode_get(), Class::Urgent, first).await.map_err(later)?;
    let position_mode =
        money::position_mode(&row).map_err(|dropped| CheckError::Later(dropped.to_string()))?;
    known_pairs(account).await.map_err(later)?;
    let mut leverages = leverages(account).await.map_err(later)?;
    let wanted = account.setup.leverage;
    if !key.read_only && leverages.iter().any(|(_, leverage)| *leverage != wanted) {
        set_leverages(account, &leverages, position_mode).await;
        leverages = self::leverages(account).await.map_err(later)?;
    }
    Ok(AccountCheck {
        uid: key.uid,
        environment: account.setup.environment,
        read_only: key.read_only,
        expires: key.expires,
        ip_bound: key.ip_bound,
        position_mode,
        leverages,
    })
}

async fn leverages(account: &Account) -> Result<Vec<(Symbol, u32)>, AskError> {
    let mut all = Vec::new();
    for symbols in account.setup.symbols.chunks(LEVERAGE_PAIRS_MAX) {
        let question = request::leverages(symbols, account.setup.margin_mode);
        let read = |rows: Vec<&serde_json::value::RawValue>| {
            rows.into_iter()
                .map(|row| money::leverage(row).map_err(|dropped| dropped.to_string()))
                .collect::<Result<Vec<_>, _>>()
        };
        all.extend(account.rows(&question, Class::Query, read).await?);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Sets the leverage where it differs. What the venue refuses (orders in the book keep it) stays, and is told with the
/// check.
async fn set_leverages(account: &Account, known: &[(Symbol, u32)], position_mode: PositionMode) {
    let wanted = account.setup.leverage;
    let sides: &[Option<PositionSide>] = match (account.setup.margin_mode, position_mode) {
        (MarginMode::Isolated, PositionMode::LongShort) => {
            &[Some(PositionSide::Long), Some(PositionSide::Short)]
        }
        _ => &[None],
    };
    let mut symbols: Vec<Symbol> =
        known.iter().filter(|(_, leverage)| *leverage != wanted).map(|(symbol, _)| *symbol).collect();
    symbols.dedup();
    for symbol in symbols {
        for side in sides {
            let request = request::set_leverage(symbol, wanted, account.setup.margin_mode, *side);
            account.budget.permit(Class::Query).await;
            let why = match account.client.ask(&request, Repeat::Harmless).await {
                Ok(answer) => match outcome(answer.status, &answer.body) {
                    Outcome::Taken(_) => {
                        tracing::info!(account = %account.setup.id, %symbol, leverage = wanted, "blofin: leverage set");
                        continue;
                    }
                    Outcome::Refused(refusal) | Outcome::KeptAway(refusal) => {
                        format!("{} ({})", refusal.text, refusal.code)
                    }
                    Outcome::Unclear(text) => text,
                },
                Err(error) => error.to_string(),
            };
            let why = account.client.keys().scrub(&why);
            tracing::warn!(account = %account.setup.id, %symbol, leverage = wanted, "blofin: leverage not set: {why}");
        }
    }
}

fn reason(account: &Account, error: AskError) -> CheckError {
    let scrub = |text: &str| account.client.keys().scrub(text);
    match error {
        AskError::Fault(Fault::Refused { code, text }) if is_about_keys(&code) => {
            let words = crate::venue::blofin::private::answer::refusal(&code, &text).text;
            CheckError::KeysRefused { code, text: scrub(&words) }
        }
        AskError::Fault(Fault::Unreadable { status: 401, .. }) => {
            CheckError::KeysRefused { code: "401".into(), text: "unauthorized".into() }
        }
        other => CheckError::Later(scrub(&other.to_string())),
    }
}
