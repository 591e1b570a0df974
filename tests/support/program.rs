//! The built program as a process of its own, with a configuration on disk; ended by its own process id.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);
/// Real trades, where they are.
const RECORDING: &str = "../shared/data/trades/binance_spot_BTC-USDT_2024-08-08T2354_2024-08-09T0005.csv.gz";
pub const SYMBOLS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];
pub const STRATEGIES: [&str; 2] = ["alpha", "beta"];
pub const BALANCE: i64 = 10_000_000;

/// Runs until it is dropped.
pub struct Program {
    child: Child,
    log: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// Since it was asked, or since its end was waited for.
    pub after: Duration,
    /// What it wrote to its standard error.
    pub log: String,
}

impl Program {
    /// Starts `tradebus` with these arguments; both of its outputs go to `log`.
    pub fn start(arguments: &[&str], log: &Path) -> Self {
        Self::start_other(env!("CARGO_BIN_EXE_tradebus"), &[], arguments, log)
    }

    /// The same with more environment variables.
    pub fn start_under(environment: &[(&str, &str)], arguments: &[&str], log: &Path) -> Self {
        Self::start_other(env!("CARGO_BIN_EXE_tradebus"), environment, arguments, log)
    }

    /// The same for another program.
    pub fn start_other(program: &str, environment: &[(&str, &str)], arguments: &[&str], log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(program);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("TRADEBUS_")) {
            command.env_remove(name);
        }
        let child = command
            .envs(environment.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the program");
        Self { child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes, where the system tells.
    pub fn memory_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).unwrap_or_default();
        let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or_default() * 4_096
    }

    /// `kill -9`, and the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and the end.
    pub fn terminate(&mut self) -> Ended {
        self.ask_to_stop();
        self.wait()
    }

    /// Waits until it has written `text` so often.
    pub async fn says(&mut self, text: &str, times: usize) {
        let since = Instant::now();
        while self.log().matches(text).count() < times {
            assert!(since.elapsed() < PATIENCE && self.running(), "never said {text:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// A signal by its name.
    pub fn signal(&self, name: &str) {
        let asked = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(asked.expect("the command kill").success(), "it has ended before: {}", self.log());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Ended {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return Ended { code: status.code(), after: since.elapsed(), log: self.log() };
            }
            assert!(since.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!(
                "the end of {}:\n{}",
                self.log.display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// A folder with a configuration, a store and a log.
pub struct Site {
    folder: TempDir,
    port: u16,
    latency_ms: u64,
    more: String,
}

impl Site {
    /// For a broker on this port: two strategies on two symbols, real trades where there are any. `beta` has a latency.
    pub fn new(port: u16) -> Self {
        Self::with(port, 5, "")
    }

    /// The same with another latency and more tables.
    pub fn with(port: u16, latency_ms: u64, more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let site = Self { folder, port, latency_ms, more: more.to_owned() };
        site.write(&site.text());
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn config(&self) -> String {
        self.path("tradebus.toml").display().to_string()
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.path("tradebus.toml"), text).expect("the configuration");
    }

    /// `tradebus run` with more arguments.
    pub fn run_with(&self, more: &[&str]) -> Program {
        let config = self.config();
        let arguments: Vec<&str> = ["run", "--config", &config].iter().chain(more).copied().collect();
        Program::start(&arguments, &self.path("log"))
    }

    pub fn run(&self) -> Program {
        self.run_with(&[])
    }

    /// The configuration.
    pub fn text(&self) -> String {
        let mut text = format!(
            "instance = \"e2e\"\n[mqtt]\nbroker = \"mqtt://127.0.0.1:{}\"\nprice_interval_ms = 200\n\
             [store]\npath = \"store\"\n[http]\nlisten = \"\"\n[log]\nformat = \"human\"\n",
            self.port
        );
        let symbols = format!("symbols = {SYMBOLS:?}\n");
        match recording() {
            Some(path) => {
                let files = SYMBOLS.map(|symbol| format!("{{ path = {path:?}, symbol = {symbol:?} }}"));
                let files = files.join(", ");
                write!(
                    text,
                    "[feed.tape]\nsource = \"recording\"\nspeed = 20\nrepeat = true\n{symbols}files = [{files}]\n"
                )
            }
            None => write!(
                text,
                "[feed.tape]\nsource = \"synthetic\"\ninterval_ms = 10\n{symbols}\
                 start_prices = {{ BTC-USDT = 60000, ETH-USDT = 3000 }}\n"
            ),
        }
        .expect("text");
        for symbol in SYMBOLS {
            write!(text, "[instrument.{symbol}]\ntick_size = 0.01\nlot_size = 0.00001\n").expect("text");
        }
        for (strategy, kind, latency_ms) in
            [(STRATEGIES[0], "external", 0), (STRATEGIES[1], "aibot", self.latency_ms)]
        {
            write!(
                text,
                "[strategy.{strategy}]\ntype = \"{kind}\"\n{symbols}balance = {BALANCE}\n\
                 signals_per_minute_max = 1000000\ndefault_size = {{ equity_pct = 1 }}\npaper = {{ latency_ms = {latency_ms}, leverage = 3 }}\n"
            )
            .expect("text");
        }
        text + &self.more
    }
}

/// The real trades, or a word that they are not here.
fn recording() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING);
    if !path.exists() {
        println!("{RECORDING} is not here: the synthetic market plays instead");
        return None;
    }
    Some(path.canonicalize().expect("its path").display().to_string())
}

/// Where `scripts/coverage` wants to be told what ran, for a process that gets no other environment.
pub fn profile() -> Option<(&'static str, OsString)> {
    let name = "LLVM_PROFILE_FILE";
    std::env::var_os(name).map(|file| (name, file))
}
