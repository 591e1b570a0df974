//! A real mosquitto on a free loopback port, ended by its own process id.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const ATTEMPTS_MAX: u32 = 500;

/// How the broker is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Keeps sessions and retained messages over [`Mosquitto::restart`].
    pub persistence: bool,
    /// The only user and its password; otherwise anybody may connect.
    pub login: Option<(&'static str, &'static str)>,
}

/// Runs until it is dropped.
pub struct Mosquitto {
    /// Loopback port, the same after a restart.
    pub port: u16,
    child: Child,
    folder: TempDir,
}

impl Mosquitto {
    pub fn start(setup: Setup) -> Self {
        Self::start_with(setup, "")
    }

    /// The same with more lines of configuration, which belong to its listener.
    pub fn start_with(setup: Setup, more: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut text = format!("listener {port} 127.0.0.1\nset_tcp_nodelay true\nlog_dest none\n{more}");
        // The broker's own limit is not what is tested. 0 is no limit too, and makes mosquitto 2.0 close the connection
        // of whoever publishes what it refuses.
        text.push_str("max_queued_messages 1000000\n");
        match setup.login {
            None => text.push_str("allow_anonymous true\n"),
            Some((user, password)) => {
                let made = Command::new("mosquitto_passwd")
                    .args(["-b", "-c", &path("passwords"), user, password])
                    .status();
                assert!(made.expect(MISSING).success(), "mosquitto_passwd failed");
                writeln!(text, "allow_anonymous false\npassword_file {}", path("passwords")).expect("text");
            }
        }
        if setup.persistence {
            writeln!(text, "persistence true\npersistence_location {}/", folder.path().display())
                .expect("text");
        }
        // Started as root, it would become a user who cannot read this folder.
        text.push_str("user root\n");
        std::fs::write(path("mosquitto.conf"), text).expect("the configuration");
        let child = spawn(&folder, port);
        Self { port, child, folder }
    }

    /// Ends the broker and starts it on the same port.
    pub fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.folder, self.port);
    }

    /// `kill -9`, and a new one on the same port.
    pub fn kill_and_restart(&mut self) {
        let _ = self.child.kill();
        self.restart();
    }

    /// Asks the broker to end (which saves what it persists) and waits for it.
    pub fn stop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

const MISSING: &str =
    "this test needs a real broker: install it with `apt-get install mosquitto mosquitto-clients`";

fn spawn(folder: &TempDir, port: u16) -> Child {
    // Debian keeps it where only root looks.
    let search = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("mosquitto");
    command.env("PATH", search).arg("-c").arg(folder.path().join("mosquitto.conf"));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect(MISSING);
    for _ in 0..ATTEMPTS_MAX {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return child;
        }
        assert!(child.try_wait().expect("its state").is_none(), "mosquitto ended at once: {MISSING}");
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("mosquitto does not listen on port {port}");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
