//! What the command line may say, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rust_decimal::Decimal;

use super::exit::{Exit, Failure};
use crate::model::amount::parse_decimal;
use crate::model::ids::{AccountId, SignalId, StrategyId, StrategyType, Symbol};
use crate::model::time::Timestamp;

/// Heading of the options that most commands have.
const COMMON: &str = "Common options";

/// Prices, positions and strategy signals over MQTT, traded on paper or at BloFin
#[derive(Debug, Parser)]
#[command(name = "tradebus", version)]
pub struct Arguments {
    /// Configuration file, instead of /etc/tradebus/tradebus.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    pub config: Option<PathBuf>,
    /// Prints for programs instead of people
    #[arg(long, global = true, help_heading = COMMON)]
    pub json: bool,
    #[command(flatten)]
    pub set: Set,
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Refuses `--json` where it would do nothing.
    pub fn refuse_json(&self, command: &str, instead: &str) -> Result<(), Failure> {
        if self.json {
            let text = format!("--json has no effect on {command}; {instead}");
            return Err(Failure::new(Exit::USAGE, text));
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the daemon
    Run(RunArguments),
    /// Runs a daemon to try out: its own broker and market, a store that is thrown away
    Demo(DemoArguments),
    /// Checks the configuration and prints the settings in force
    CheckConfig(Set),
    /// Checks a store that no daemon uses
    Verify(VerifyArguments),
    /// Writes trades, orders, fills, signals or equity of a store that no daemon uses
    Export(ExportArguments),
    /// Copies a store, also while a daemon uses it, and verifies the copy
    Backup(BackupArguments),
    /// Puts a copy into a new folder, as a whole or up to a point in time
    Restore(RestoreArguments),
    /// Shows a running daemon, its feeds and its strategies
    Status(BusArguments),
    /// Shows the open positions
    Positions(PositionsArguments),
    /// Shows key figures
    Kpis(KpisArguments),
    /// Sends a signal to a strategy and waits for the answer
    Signal(SignalArguments),
    /// Shows what accounts at venues and ledgers hold, and books the venue's truth where they differ
    Reconcile(ReconcileArguments),
    /// Removes the entities of a daemon that is gone from Home Assistant
    UninstallDiscovery(UninstallArguments),
    /// Shows prices straight from their source; needs no daemon
    Feed(FeedArguments),
    /// Writes prices to files that can be played again; needs no daemon
    Record(RecordArguments),
}

/// Settings on the command line.
///
/// It stands before and behind the command's name as two options whose values are joined: as a global option of clap
/// the values before the name would be dropped silently when there are others behind it.
#[derive(Clone, Debug, Default, Args)]
pub struct Set {
    /// Overrides a setting, such as log.level=debug; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = COMMON)]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub set: Set,
    /// Writes every event with its time to this file, for replays
    #[arg(long, value_name = "FILE")]
    pub record_events: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Plays this file instead of the synthetic market; the symbol may stand in its name; may be repeated
    #[arg(long = "recording", value_name = "FILE|SYMBOL=FILE")]
    pub recordings: Vec<String>,
    /// Keeps the store in this folder, so that the demo can be killed and started again
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Port of its broker [default: 1883, or a free one when that is taken]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    pub set: Set,
    /// Folder of the store, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// What to write; equity as it was journalled, without the samples for charts
    #[arg(value_parser = ["trades", "orders", "fills", "signals", "equity"])]
    pub table: String,
    /// Only those of this strategy
    #[arg(long, value_name = "ID", value_parser = StrategyId::new)]
    pub strategy: Option<StrategyId>,
    /// Only those of this pair
    #[arg(long, value_parser = Symbol::new)]
    pub symbol: Option<Symbol>,
    /// At this time or later; trades count when they close, orders when they are made
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    pub from: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    pub to: Option<Timestamp>,
    /// Form of a row
    #[arg(long, default_value = "csv", value_parser = ["csv", "jsonl"])]
    pub format: String,
    /// File, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Folder of the store, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    #[command(flatten)]
    pub set: Set,
}

#[derive(Debug, Args)]
pub struct BackupArguments {
    /// New folder for the copy
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
    /// Folder of the store, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    #[command(flatten)]
    pub set: Set,
}

#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// Folder of the copy
    pub backup: PathBuf,
    /// New folder for the store
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
    /// Leaves out what was recorded after this time, such as 2026-11-20T20:00:05Z
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    pub until: Option<Timestamp>,
}

/// Where the daemon is found.
#[derive(Debug, Args)]
pub struct BusArguments {
    #[command(flatten)]
    pub set: Set,
    /// Broker, instead of the configured one
    #[arg(long, value_name = "mqtt://HOST:PORT")]
    pub broker: Option<String>,
    /// Asks the daemon itself over HTTP instead of a broker
    #[arg(long, value_name = "http://HOST:PORT", conflicts_with_all = ["broker", "base_topic"])]
    pub http: Option<String>,
    /// File with lines of SCOPE TOKEN; without it the configured one, if the address is the configured one
    #[arg(long, value_name = "FILE", requires = "http")]
    pub token_file: Option<PathBuf>,
    /// What the daemon's topics begin with, instead of the configured text
    #[arg(long, value_name = "TOPIC")]
    pub base_topic: Option<String>,
}

#[derive(Debug, Args)]
pub struct PositionsArguments {
    #[command(flatten)]
    pub bus: BusArguments,
    /// Only those of this strategy
    #[arg(long, value_name = "ID", value_parser = StrategyId::new)]
    pub strategy: Option<StrategyId>,
    /// Shows flat ones too
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct KpisArguments {
    #[command(flatten)]
    pub bus: BusArguments,
    /// Only those of this strategy
    #[arg(long, value_name = "ID", value_parser = StrategyId::new, group = "scope")]
    pub strategy: Option<StrategyId>,
    /// Only those of this type of strategies
    #[arg(long = "type", value_name = "TYPE", value_parser = StrategyType::new, group = "scope")]
    pub kind: Option<StrategyType>,
    /// Only those of the portfolio
    #[arg(long, group = "scope")]
    pub portfolio: bool,
}

#[derive(Debug, Args)]
pub struct SignalArguments {
    /// Strategy that it is for
    #[arg(value_parser = StrategyId::new)]
    pub strategy: StrategyId,
    /// Position to have (long, short, flat), or change of it (buy, sell)
    #[arg(value_parser = ["long", "short", "flat", "buy", "sell"])]
    pub action: String,
    /// Pair, such as BTC-USDT
    #[arg(value_parser = Symbol::new)]
    pub symbol: Symbol,
    #[command(flatten)]
    pub size: SizeArguments,
    /// Limit price; without it the order is a market order
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub limit: Option<Decimal>,
    /// Price that closes the position at a loss; --risk-pct is reckoned from it
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub stop_loss: Option<Decimal>,
    /// Price that closes the position at a profit
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub take_profit: Option<Decimal>,
    /// Id; the same one sent again changes nothing [default: made of the time]
    #[arg(long, value_name = "ID", value_parser = SignalId::new)]
    pub id: Option<SignalId>,
    /// Seconds after which the daemon must not act on it any more
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_age_s: Option<Decimal>,
    /// Words for whoever reads the topic; the daemon ignores them
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub wait_s: u32,
    #[command(flatten)]
    pub bus: BusArguments,
}

#[derive(Debug, Args)]
pub struct ReconcileArguments {
    /// Account of the configuration; without it all
    #[arg(value_parser = AccountId::new)]
    pub account: Option<AccountId>,
    /// Books the venue's truth to the ledgers, at the mark and without a fee; without it nothing changes
    #[arg(long)]
    pub accept: bool,
    /// Strategy whose ledger takes it, where several trade the pair
    #[arg(long, value_name = "ID", value_parser = StrategyId::new, requires = "accept")]
    pub strategy: Option<StrategyId>,
    /// Only what differs in this pair
    #[arg(long, value_name = "PAIR", value_parser = Symbol::new, requires = "accept")]
    pub symbol: Option<Symbol>,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub wait_s: u32,
    #[command(flatten)]
    pub bus: BusArguments,
}

#[derive(Debug, Args)]
pub struct UninstallArguments {
    /// Also makes the broker forget everything below the base topic
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub bus: BusArguments,
}

/// How much; the strategy's default without any.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct SizeArguments {
    /// Size in base units
    #[arg(long, value_name = "N", value_parser = positive)]
    pub quantity: Option<Decimal>,
    /// Size in quote currency
    #[arg(long, value_name = "N", value_parser = positive)]
    pub notional: Option<Decimal>,
    /// Size in percent of the strategy's equity
    #[arg(long, value_name = "N", value_parser = positive)]
    pub equity_pct: Option<Decimal>,
    /// Percent of the strategy's equity to lose when --stop-loss is reached
    #[arg(long, value_name = "N", value_parser = positive)]
    pub risk_pct: Option<Decimal>,
}

/// Whose prices.
#[derive(Debug, Args)]
pub struct FeedSelection {
    #[command(flatten)]
    pub set: Set,
    /// Feed of the configuration; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// Pair of BloFin, instead of the configured ones; may be repeated
    #[arg(long = "symbol", value_name = "PAIR", value_parser = Symbol::new)]
    pub symbols: Vec<Symbol>,
}

#[derive(Debug, Args)]
pub struct FeedArguments {
    #[command(flatten)]
    pub from: FeedSelection,
    /// Goes on until it is stopped: a table on a terminal, with --json a line for each event
    #[arg(long)]
    pub watch: bool,
    /// Seconds to wait for the first prices, without --watch
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub wait_s: u32,
}

#[derive(Debug, Args)]
pub struct RecordArguments {
    /// New file; packed when it ends in .gz; {symbol} stands for the pair [default: FEED_{symbol}_TIME.csv.gz]
    pub file: Option<String>,
    /// Seconds after which it ends; without, it ends when it is stopped
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub duration_s: Option<u32>,
    #[command(flatten)]
    pub from: FeedSelection,
}

fn positive(text: &str) -> Result<Decimal, String> {
    match parse_decimal(text) {
        Ok(value) if value > Decimal::ZERO => Ok(value),
        Ok(value) => Err(format!("{value} must be above 0")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn settings_before_and_behind_the_name_are_both_kept() {
        let line = ["tradebus", "--set", "a=1", "--json", "run", "--set", "b=2", "--set", "c=3"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Run(run) = &arguments.command else { panic!("run") };
        assert_eq!((arguments.set.set.len(), run.set.set.len(), arguments.json), (1, 2, true));
    }

    #[test]
    fn numbers_are_refused_by_the_name_of_their_option() {
        let check = |options: &[&str], expected: &[&str]| {
            let line = ["tradebus", "signal", "s", "long", "BTC-USDT"].iter().chain(options);
            let error = Arguments::try_parse_from(line).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{error}");
            }
        };
        check(&["--quantity", "1,5"], &["--quantity", "\"1,5\" is not a number"]);
        check(&["--limit", "NaN"], &["--limit", "\"NaN\" is not a number"]);
        check(&["--notional=-5"], &["--notional", "-5 must be above 0"]);
        check(&["--risk-pct", "0.0000000000001"], &["--risk-pct", "more than 12 decimals"]);
        check(&["--quantity", "1", "--equity-pct", "2"], &["--quantity", "cannot be used with"]);
        check(&["--wait-s", "0"], &["--wait-s", "1..=3600"]);
    }
}
