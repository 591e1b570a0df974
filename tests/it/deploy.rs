//! The files of `deploy/`, in force: a real mosquitto with the shipped configuration and ACL, and each of its users.
//! And the dashboard names only entities that discovery proposes.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use saphyr::{LoadableYamlNode, Yaml};
use tempfile::TempDir;
use tradebus::message::topic;

const USERS: [&str; 5] = ["daemon", "homeassistant", "bridge", "strategy", "dashboard"];
const CONFIG: &str = include_str!("../../deploy/mosquitto/mosquitto.conf");
const ACL: &str = include_str!("../../deploy/mosquitto/acl");
pub struct Broker {
    pub port: u16,
    child: Child,
    _folder: TempDir,
}

impl Broker {
    fn start() -> Broker {
        Broker::start_with(|config| config)
    }

    /// With another change of the shipped configuration.
    pub fn start_with(change: impl FnOnce(String) -> String) -> Broker {
        let folder = TempDir::new().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let path = |name: &str| folder.path().join(name).display().to_string();
        for (number, user) in USERS.iter().enumerate() {
            let mut make = Command::new("mosquitto_passwd");
            make.arg("-b").args((number == 0).then_some("-c")).args([&path("passwords"), *user, *user]);
            assert!(make.stderr(Stdio::null()).status().expect("mosquitto is installed").success());
        }
        std::fs::write(path("acl"), ACL).expect("the ACL");
        let config = CONFIG
            .replace("listener 1883 0.0.0.0", &format!("listener {port} 127.0.0.1"))
            .replace("/etc/mosquitto/passwords", &path("passwords"))
            .replace("/etc/mosquitto/acl", &path("acl"));
        // What Debian's own file has, which includes ours: a line that stands twice is an error.
        let own = format!(
            "persistence true\npersistence_location {}/\nlog_dest none\nuser root\n",
            folder.path().display()
        );
        std::fs::write(path("mosquitto.conf"), own + &change(config)).expect("the configuration");
        let search = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.env("PATH", search).args(["-c", &path("mosquitto.conf")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mosquitto");
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Broker { port, child, _folder: folder };
            }
            assert!(child.try_wait().expect("its state").is_none(), "mosquitto refuses the shipped files");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("mosquitto does not listen");
    }

    pub fn client(&self, program: &str, user: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-V", "5", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-u", user, "-P", user]);
        command
    }

    /// Leaves the user's name, retained, on a topic, if the user may.
    fn publish(&self, user: &str, topic: &str) {
        let mut command = self.client("mosquitto_pub", user);
        let done = command.args(["-q", "1", "-r", "-t", topic, "-m", user]).stderr(Stdio::null()).status();
        done.expect("mosquitto_pub runs");
    }

    /// What a user sees of everything retained: `topic publisher`. Ends with `marker`, which is asked for last.
    fn reads(&self, user: &str, marker: &str) -> BTreeSet<String> {
        let mut command = self.client("mosquitto_sub", user);
        command.args(["-W", "3", "-F", "%t %p", "-t", "tradebus/#", "-t", "tradebus-reply/#", "-t", marker]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mosquitto_sub");
        let mut seen = BTreeSet::new();
        let out = std::io::BufReader::new(child.stdout.take().expect("its output"));
        for line in std::io::BufRead::lines(out).map_while(Result::ok) {
            // The marker comes once more at the end, because it has a subscription of its own.
            let is_marker = line.split(' ').next() == Some(marker);
            if !seen.insert(line) && is_marker {
                break;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        seen
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every topic with names put in, and whether it is inbound.
fn topics() -> Vec<(String, bool)> {
    let filled = |rest: &str| {
        let names = [
            ("<feed>", "f"),
            ("<symbol>", "BTC-USDT"),
            ("<id>", "zz"),
            ("<type>", "external"),
            ("<op>", "x"),
        ];
        let rest = names.iter().fold(rest.to_string(), |rest, (name, value)| rest.replace(name, value));
        format!("tradebus/{rest}")
    };
    let inbound = |rest: &str| {
        ["/set", "/signal", "tradingview", "/probe"].iter().any(|end| rest.ends_with(end))
            || rest.contains("request/")
    };
    let later = ["strategy/<id>/tradingview", "tradingview"];
    let all: BTreeSet<&str> = topic::ALL.iter().copied().chain(later).collect();
    all.into_iter().map(|rest| (filled(rest), inbound(rest))).collect()
}

#[test]
fn readers_see_what_is_outbound_and_nothing_else() {
    let broker = Broker::start();
    let topics = topics();
    topics.iter().for_each(|(topic, _)| broker.publish("daemon", topic));
    let outbound = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let open = topics.iter().filter(|(topic, inbound)| !inbound && wanted(topic));
        open.map(|(topic, _)| format!("{topic} daemon")).collect()
    };
    let marker = "tradebus/strategy/zz/state";
    assert_eq!(broker.reads("dashboard", marker), outbound(&|_| true));
    assert_eq!(broker.reads("homeassistant", marker), outbound(&|topic| !topic.contains("/tick/")));
    let own = ["/result", "/state", "/fill", "/tick/", "/price/", "/position/"];
    let strategy = |topic: &str| {
        let scopes = ["tradebus/strategy/", "tradebus/tick/", "tradebus/price/", "tradebus/daemon/state"];
        own.iter().any(|word| topic.contains(word)) && scopes.iter().any(|scope| topic.starts_with(scope))
    };
    assert_eq!(broker.reads("strategy", marker), outbound(&strategy));
    let all: BTreeSet<String> = topics.iter().map(|(topic, _)| format!("{topic} daemon")).collect();
    assert_eq!(broker.reads("daemon", marker), all);
}

#[test]
fn writers_reach_what_is_theirs_and_nothing_else() {
    let broker = Broker::start();
    let mut expected = BTreeSet::new();
    for user in USERS.iter().filter(|user| **user != "daemon") {
        for (topic, _) in topics() {
            // Each attempt on a topic of its own, where the topic has room for one.
            let topic = topic.replace("/zz/", &format!("/{user}/"));
            broker.publish(user, &topic);
            let end = |word: &str| topic.ends_with(word);
            let may = match *user {
                "homeassistant" => end("/level/set") || end("/tradingview") || topic.contains("/request/"),
                "bridge" => end("/tradingview"),
                "strategy" => end("/signal"),
                _ => false,
            };
            if may {
                expected.retain(|line: &String| !line.starts_with(&format!("{topic} ")));
                expected.insert(format!("{topic} {user}"));
            }
        }
    }
    broker.publish("daemon", "tradebus/portfolio/state");
    broker.publish("daemon", "tradebus-reply/a");
    expected.insert("tradebus/portfolio/state daemon".into());
    assert_eq!(broker.reads("daemon", "tradebus/portfolio/state"), expected);
    assert!(broker.reads("strategy", "tradebus-reply/a").contains("tradebus-reply/a daemon"));
}

#[test]
fn the_dashboard_names_entities_that_are_announced() {
    let dashboard = include_str!("../../deploy/home-assistant/dashboard.yaml");
    let announced: BTreeSet<&str> = include_str!("../golden/discovery_ids.txt")
        .lines()
        .filter_map(|line| line.split(' ').nth(3))
        .collect();
    let page = Yaml::load_from_str(dashboard).expect("the dashboard is YAML");
    let [page] = page.as_slice() else { panic!("one document") };
    let mut named = Vec::new();
    entities(page, &mut named);
    for entity in &named {
        // The golden market is of another feed.
        let entity = entity.replace("blofin", "tape");
        assert!(announced.contains(entity.as_str()), "{entity}");
    }
    assert!(named.len() > 40, "{}", named.len());
    let words = dashboard.matches(".tradebus_").count();
    assert_eq!(named.len(), words, "an entity stands where this test does not look");
}

/// What stands as `entity` or `entity_id`, and the texts among `entities`.
fn entities(node: &Yaml, found: &mut Vec<String>) {
    for item in node.as_sequence().into_iter().flatten() {
        entities(item, found);
    }
    for (key, value) in node.as_mapping().into_iter().flatten() {
        let texts = match key.as_str() {
            Some("entity" | "entity_id") => vec![value],
            Some("entities") => value.as_sequence().into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        found.extend(texts.into_iter().filter_map(|text| text.as_str().map(String::from)));
        entities(value, found);
    }
}
