//! `export`: trades, orders, fills, signals and equity as CSV or JSON lines, straight from the journal.
//!
//! Oldest first, one pass, the memory of the open orders: an order is written once it is final, and what is still open
//! comes last. The store must not be in use; a backup of it can be exported while the daemon runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, ExportArguments};
use super::exit::{Exit, Failure};
use super::export_rows::{self as rows, Row};
use super::progress::Progress;
use super::settings;
use crate::engine::record::Record;
use crate::model::ids::{ClientOrderId, StrategyId, Symbol};
use crate::model::order::Order;
use crate::model::time::Timestamp;
use crate::store::ledger::for_each_record;
use crate::store::{Journal, LedgerError, StoreError, StoreLock};

/// Records between two steps of the progress bar.
const STEP: u64 = 1_000;

/// Writes a table of the configured store, or of the one that is named.
pub fn export(arguments: &Arguments, command: &ExportArguments) -> Result<Exit, Failure> {
    arguments.refuse_json("export", "use --format jsonl")?;
    if command.table == "equity" && command.symbol.is_some() {
        return Err(Failure::new(Exit::USAGE, "equity has no symbol"));
    }
    let store = settings::store(arguments, &command.set, command.store.as_deref())?;
    let failed = |error: LedgerError| Failure::new(Exit::DATA, format!("store {}: {error}", store.display()));
    if !store.join("journal").is_dir() {
        let text = format!("there is no store in {}: it has no folder \"journal\"", store.display());
        return Err(Failure::new(Exit::DATA, text));
    }
    let _lock = StoreLock::acquire_existing(&store).map_err(|error| match error {
        StoreError::Locked { .. } => Failure::new(
            Exit::TEMPORARY,
            format!("{error}; stop it, or export from a copy: tradebus backup DIR"),
        ),
        error => failed(error.into()),
    })?;
    let last = Journal::inspect(&store).map_err(|error| failed(error.into()))?.last_sequence;
    let mut out = Output::open(command.output.as_deref())?;
    let progress = Progress::start("exporting", false);
    let mut export = Export { command, out: &mut out, header: false, open: BTreeMap::new(), failed: None };
    let read = for_each_record(&store, 1, last, |sequence, record| {
        if sequence % STEP == 0 {
            progress.set(sequence, last);
        }
        export.take(sequence, &record);
        export.failed.is_none()
    });
    progress.end();
    read.map_err(failed)?;
    let outcome = export.finish();
    match outcome.and_then(|()| out.finish()) {
        // A reader that went away (`| head`) has what it wanted.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::OUTPUT, format!("cannot write the output: {error}")))
        }
        _ => Ok(Exit::OK),
    }
}

struct Export<'a> {
    command: &'a ExportArguments,
    out: &'a mut Output,
    header: bool,
    open: BTreeMap<ClientOrderId, (u64, Order)>,
    failed: Option<std::io::Error>,
}

impl Export<'_> {
    fn take(&mut self, sequence: u64, record: &Record) {
        match (self.command.table.as_str(), record) {
            ("trades", Record::Trade(trade))
                if self.wants(trade.strategy, trade.symbol, trade.close_time) =>
            {
                self.row(rows::trade(trade, sequence));
            }
            ("fills", Record::Fill(fill)) if self.wants(fill.strategy, fill.symbol, fill.time) => {
                self.row(rows::fill(fill, sequence));
            }
            ("signals", Record::Signal(signal))
                if self.wants(signal.strategy, signal.symbol, signal.result.time) =>
            {
                self.row(rows::signal(signal, sequence));
            }
            ("equity", Record::Sample(sample)) if self.in_time(sample.time) => {
                let strategy = self.command.strategy;
                let wanted = sample.scopes.iter().filter(|scope| rows::is_of(scope.scope, strategy));
                wanted.for_each(|scope| self.row(rows::equity(sample, scope, sequence)));
            }
            ("orders", Record::Order(order)) if self.wants(order.strategy, order.symbol, order.created) => {
                if order.status.is_final() {
                    self.open.remove(&order.order_id);
                    self.row(rows::order(order, sequence));
                } else {
                    self.open.insert(order.order_id, (sequence, order.clone()));
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> std::io::Result<()> {
        let mut open: Vec<(u64, Order)> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_by_key(|(sequence, _)| *sequence);
        open.iter().for_each(|(sequence, order)| self.row(rows::order(order, *sequence)));
        self.failed.map_or(Ok(()), Err)
    }

    fn wants(&self, strategy: StrategyId, symbol: Symbol, time: Timestamp) -> bool {
        self.command.strategy.is_none_or(|wanted| wanted == strategy)
            && self.command.symbol.is_none_or(|wanted| wanted == symbol)
            && self.in_time(time)
    }

    fn in_time(&self, time: Timestamp) -> bool {
        self.command.from.is_none_or(|from| time >= from) && self.command.to.is_none_or(|to| time < to)
    }

    fn row(&mut self, row: Row) {
        if self.failed.is_some() {
            return;
        }
        let csv = self.command.format == "csv";
        if csv && !self.header {
            self.header = true;
            self.failed = self.out.line(&rows::csv_header(&row)).err();
        }
        let line = if csv { rows::csv(&row) } else { rows::json(&row) };
        self.failed = self.failed.take().or(self.out.line(&line).err());
    }
}

/// Standard output, or a file that gets its name when it is whole.
enum Output {
    Standard(BufWriter<std::io::Stdout>),
    File { file: BufWriter<File>, partial: PathBuf, path: PathBuf },
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Output, Failure> {
        let Some(path) = path else { return Ok(Output::Standard(BufWriter::new(std::io::stdout()))) };
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = File::create(&partial).map_err(|error| {
            Failure::new(Exit::OUTPUT, format!("cannot create {}: {error}", partial.display()))
        })?;
        Ok(Output::File { file: BufWriter::new(file), partial, path: path.to_owned() })
    }

    fn line(&mut self, line: &str) -> std::io::Result<()> {
        match self {
            Output::Standard(out) => writeln!(out, "{line}"),
            Output::File { file, .. } => writeln!(file, "{line}"),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Output::Standard(mut out) => out.flush(),
            Output::File { file, partial, path } => {
                file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
                std::fs::rename(partial, path)
            }
        }
    }
}
