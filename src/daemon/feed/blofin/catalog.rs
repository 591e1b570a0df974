//! The pairs that the feed has, and what is known of them without a network.
//!
//! The venue's own rows are kept in a file beside the store, written anew when one of them changes and replaced as a
//! whole. It is a convenience: without it the first start needs the venue once.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use crate::model::ids::Symbol;
use crate::model::market::PriceUpdate;
use crate::venue::blofin::instrument::{Listing, changes, inst_id, unknown};
use crate::venue::blofin::{FRAME_BYTES_MAX, answer};

/// What is known of the wanted pairs.
#[derive(Debug)]
pub struct Catalog {
    wanted: Vec<Symbol>,
    file: Option<PathBuf>,
    listed: BTreeMap<Symbol, Entry>,
}

#[derive(Debug)]
struct Entry {
    listing: Listing,
    row: String,
}

/// What a new list of the venue means.
#[derive(Debug, Default)]
pub struct Changes {
    /// Pairs that are new or have other steps now.
    pub listed: Vec<Symbol>,
    /// Sentences about figures that changed.
    pub changed: Vec<String>,
    /// Sentences about pairs that cannot be had.
    pub refused: Vec<String>,
}

impl Catalog {
    /// The wanted pairs, with what a file of an earlier run tells of them.
    pub fn open(wanted: Vec<Symbol>, file: Option<PathBuf>) -> Catalog {
        let mut catalog = Catalog { wanted, file, listed: BTreeMap::new() };
        if let Some(text) = catalog.file.as_deref().and_then(read) {
            match answer::rows(200, &text) {
                Ok(rows) => drop(catalog.update(&rows, true)),
                Err(fault) => tracing::warn!("blofin: stored instruments are of no use: {fault}"),
            }
        }
        catalog
    }

    /// The pairs that prices can be had of, by our names.
    pub fn symbols(&self) -> impl Iterator<Item = (Symbol, &Listing)> {
        self.listed.iter().map(|(symbol, entry)| (*symbol, &entry.listing))
    }

    /// The steps of a pair, for the engine.
    pub fn steps(&self, symbol: Symbol) -> Option<PriceUpdate> {
        let steps = &self.listed.get(&symbol)?.listing.instrument;
        Some(PriceUpdate::Instrument {
            tick_size: steps.tick_size(),
            lot_size: steps.lot_size(),
            size_min: steps.size_min(),
            contract_value: steps.contract_value(),
        })
    }

    /// Takes the venue's list. A part of one, which is what a file has, says nothing about pairs that are not in it.
    pub fn update(&mut self, rows: &[&RawValue], is_part: bool) -> Changes {
        let mut found = Changes::default();
        // A row that cannot be read is only of interest when its pair is wanted.
        let read: Vec<(Listing, &str)> =
            rows.iter().filter_map(|row| Some((Listing::read(row).ok()?, row.get()))).collect();
        let mut is_new = false;
        for symbol in self.wanted.clone() {
            let Some(name) = inst_id(symbol) else {
                found.refused.push(format!("{symbol} is a spot pair; only perpetuals are available"));
                continue;
            };
            let Some((listing, row)) = read.iter().find(|(listing, _)| listing.symbol() == name) else {
                if !is_part {
                    let listings: Vec<Listing> = read.iter().map(|(listing, _)| listing.clone()).collect();
                    found.refused.push(refusal(name, rows, &listings));
                }
                continue;
            };
            let known = self.listed.get(&symbol);
            if let Some(refusal) = listing.refusal() {
                found.refused.push(refusal);
                // A pair that was had before keeps its subscription: it may come back.
                if known.is_none() {
                    continue;
                }
            }
            let differences = known.map(|known| changes(&known.listing, listing)).unwrap_or_default();
            if known.is_none() || !differences.is_empty() {
                found.listed.push(symbol);
            }
            if !differences.is_empty() {
                found.changed.push(format!("{symbol}: {}", differences.join(", ")));
            }
            is_new |= known.is_none_or(|known| known.row != *row);
            self.listed.insert(symbol, Entry { listing: listing.clone(), row: (*row).to_owned() });
        }
        if is_new && !is_part {
            self.store();
        }
        found
    }

    fn store(&self) {
        let Some(file) = &self.file else { return };
        let rows: Vec<&str> = self.listed.values().map(|entry| entry.row.as_str()).collect();
        let text = format!("{{\"code\":\"0\",\"data\":[\n{}\n]}}\n", rows.join(",\n"));
        if let Err(error) = replace(file, &text) {
            tracing::warn!(file = %file.display(), "blofin: instruments are not stored: {error}");
        }
    }
}

/// Why a pair is not among the listings: a row of it may be there that cannot be read.
fn refusal(name: Symbol, rows: &[&RawValue], listings: &[Listing]) -> String {
    let quoted = format!("\"{name}\"");
    let broken =
        rows.iter().filter(|row| row.get().contains(&quoted)).find_map(|row| Listing::read(row).err());
    match broken {
        Some(dropped) => format!("{name} cannot be had: {dropped}"),
        None => unknown(name, listings),
    }
}

fn read(file: &Path) -> Option<String> {
    let length = std::fs::metadata(file).ok()?.len();
    if length > FRAME_BYTES_MAX as u64 {
        tracing::warn!(file = %file.display(), "blofin: stored instruments are too large");
        return None;
    }
    std::fs::read_to_string(file).ok()
}

/// Writes a file so that there is always a whole one.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[(&str, &str)]) -> String {
        let row = |(name, more): &(&str, &str)| {
            format!(
                r#"{{"instId":"{name}","contractValue":"0.001","minSize":"0.1","lotSize":"0.1","tickSize":"0.1"{more}}}"#
            )
        };
        let rows: Vec<String> = names.iter().map(row).collect();
        format!(r#"{{"code":"0","data":[{}]}}"#, rows.join(","))
    }

    fn update(catalog: &mut Catalog, body: &str) -> Changes {
        catalog.update(&answer::rows(200, body).unwrap(), false)
    }

    #[test]
    fn lists_refuses_and_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("instruments.json"));
        let wanted = ["BTC-USDT", "ETH-USDT", "BTC-UST", "BTC-USDT.SPOT", "X-USDT"];
        let wanted: Vec<Symbol> = wanted.iter().map(|name| Symbol::new(name).unwrap()).collect();
        let mut catalog = Catalog::open(wanted.clone(), file.clone());
        let body = rows(&[
            ("BTC-USDT", ""),
            ("ETH-USDT", r#","state":"suspend""#),
            ("X-USDT", r#","contractType":"x""#),
        ]);
        let found = update(&mut catalog, &body);
        assert_eq!(found.listed, [wanted[0]]);
        let refused = [
            "ETH-USDT is \"suspend\" at the venue; it must be \"live\"",
            "\"BTC-UST\" is not a pair of the venue; the nearest are \"BTC-USDT\", \"ETH-USDT\"",
            "BTC-USDT.SPOT is a spot pair; only perpetuals are available",
            "X-USDT cannot be had: malformed: contractType \"x\"",
        ];
        assert_eq!(found.refused, refused);
        // The next run knows it without a network, and that its steps have changed meanwhile.
        let mut catalog = Catalog::open(wanted.clone(), file.clone());
        assert_eq!(catalog.symbols().map(|(symbol, _)| symbol).collect::<Vec<_>>(), [wanted[0]]);
        let found = update(&mut catalog, &body.replacen("0.001", "0.01", 1));
        assert_eq!(found.changed, ["BTC-USDT: contract value 0.001 became 0.01"]);
        assert_eq!(found.listed, [wanted[0]]);
        assert!(update(&mut catalog, &body.replacen("0.001", "0.01", 1)).listed.is_empty());
        // A file that is damaged is as good as none.
        std::fs::write(file.as_ref().unwrap(), "{").unwrap();
        assert_eq!(Catalog::open(wanted, file).symbols().count(), 0);
    }
}
