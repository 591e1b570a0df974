//! `market/instruments`: what can be traded, in which steps, and whether it can be traded now.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dropped::{DropReason, Dropped};
use super::wire::{self, Raw};
use crate::model::amount::{Price, Quantity};
use crate::model::ids::Symbol;
use crate::model::instrument::Instrument;
use crate::model::time::Timestamp;

/// The most names that an error about an unknown pair suggests.
const NEAREST_MAX: usize = 3;

/// What the venue says about a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Steps and contract value, for a linear contract.
    pub instrument: Instrument,
    /// Whether the contract is worth base units (`linear`) or quote money (`inverse`).
    pub kind: ContractKind,
    /// `live`, `suspend`, or a word that is new.
    pub state: State,
    /// The largest leverage, when it is told.
    pub leverage_max: Option<u32>,
    /// When it is delisted; far in the future for a perpetual.
    pub expire_time: Option<Timestamp>,
}

/// What a contract is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractKind {
    /// Base units: profit is in the quote currency.
    Linear,
    /// Quote money: profit is in the base currency.
    Inverse,
}

/// Whether a pair can be traded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Live,
    /// It cannot; the venue's word for it, at most 24 characters.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListingRow<'a> {
    #[serde(borrow)]
    inst_id: Raw<'a>,
    #[serde(borrow)]
    contract_value: Raw<'a>,
    #[serde(borrow)]
    min_size: Raw<'a>,
    #[serde(borrow)]
    lot_size: Raw<'a>,
    #[serde(borrow)]
    tick_size: Raw<'a>,
    #[serde(borrow)]
    contract_type: Raw<'a>,
    #[serde(borrow)]
    state: Raw<'a>,
    #[serde(borrow)]
    max_leverage: Raw<'a>,
    #[serde(borrow)]
    expire_time: Raw<'a>,
}

impl Listing {
    /// Reads a row. Without `contractType` or `state` it is what all were before the field was added: linear, live.
    ///
    /// # Errors
    /// Why it is dropped.
    pub fn read(row: &RawValue) -> Result<Listing, Dropped> {
        let row: ListingRow = wire::row("instrument", row)?;
        let symbol = wire::symbol("instId", row.inst_id)?;
        let kind = match wire::text(row.contract_type).as_deref() {
            None | Some("linear") => ContractKind::Linear,
            Some("inverse") => ContractKind::Inverse,
            Some(other) => return Err(Dropped::new(DropReason::Malformed, "contractType", other)),
        };
        let instrument = Instrument::new(
            symbol,
            wire::price("tickSize", row.tick_size)?,
            wire::contracts("lotSize", row.lot_size)?,
            wire::contracts("minSize", row.min_size)?,
            wire::contracts("contractValue", row.contract_value)?,
        );
        let instrument = instrument
            .map_err(|error| Dropped::new(DropReason::Malformed, "instrument", &error.to_string()))?;
        // A step finer than what an amount keeps would round every size to 0.
        if !instrument.keeps_lot() {
            return Err(Dropped::new(
                DropReason::Malformed,
                "lotSize x contractValue",
                "more than 12 decimals",
            ));
        }
        Ok(Listing {
            instrument,
            kind,
            state: match wire::text(row.state).as_deref() {
                None | Some("live") => State::Live,
                Some(other) => State::Other(other.chars().take(24).collect()),
            },
            leverage_max: wire::text(row.max_leverage).and_then(|text| text.parse().ok()),
            expire_time: wire::time("expireTime", row.expire_time).ok(),
        })
    }

    /// The pair.
    pub fn symbol(&self) -> Symbol {
        self.instrument.symbol()
    }

    /// Why this version cannot have prices of it, if so.
    pub fn refusal(&self) -> Option<String> {
        let symbol = self.symbol();
        match (&self.state, self.kind) {
            (State::Other(state), _) => {
                Some(format!("{symbol} is {state:?} at the venue; it must be \"live\""))
            }
            (_, ContractKind::Inverse) => {
                Some(format!("{symbol} is an inverse contract; only linear ones are available"))
            }
            _ => None,
        }
    }
}

/// What is asked of the venue for a symbol: its `instId`. `None` for a spot pair, whose prices are not available.
pub fn inst_id(symbol: Symbol) -> Option<Symbol> {
    match symbol.as_str() {
        text if text.ends_with(".SPOT") => None,
        text => Symbol::new(text.strip_suffix(".PERP").unwrap_or(text)).ok(),
    }
}

/// Why a symbol cannot be had among `listings`, with the names that come nearest.
pub fn unknown(symbol: Symbol, listings: &[Listing]) -> String {
    let mut scored: Vec<(usize, Symbol)> = listings
        .iter()
        .map(|listing| (distance(symbol.as_str(), listing.symbol().as_str()), listing.symbol()))
        .collect();
    scored.sort();
    let near: Vec<String> =
        scored.iter().take(NEAREST_MAX).map(|(_, name)| format!("{:?}", name.as_str())).collect();
    match near.is_empty() {
        true => format!("\"{symbol}\" is not a pair of the venue"),
        false => format!("\"{symbol}\" is not a pair of the venue; the nearest are {}", near.join(", ")),
    }
}

/// How many letters must be put in, taken out or exchanged to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// What is different between two listings of a pair, in words; empty when nothing that matters is.
pub fn changes(before: &Listing, after: &Listing) -> Vec<String> {
    let (old, new) = (&before.instrument, &after.instrument);
    let figures: [(&str, String, String); 4] = [
        ("tick size", shown_price(old.tick_size()), shown_price(new.tick_size())),
        ("lot size", shown(old.lot_size()), shown(new.lot_size())),
        ("minimum size", shown(old.size_min()), shown(new.size_min())),
        ("contract value", shown(old.contract_value()), shown(new.contract_value())),
    ];
    let mut changes: Vec<String> = figures
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name} {old} became {new}"))
        .collect();
    if before.state != after.state {
        changes.push(format!("state {} became {}", word(&before.state), word(&after.state)));
    }
    changes
}

fn word(state: &State) -> &str {
    match state {
        State::Live => "live",
        State::Other(word) => word,
    }
}

fn shown(quantity: Quantity) -> String {
    quantity.to_string()
}

fn shown_price(price: Price) -> String {
    price.to_string()
}
