//! The options of an example: `--name value` each. One that it does not have ends it with 2, so that no run does
//! something else than its line says.

use std::collections::BTreeMap;

pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Those of this process.
    pub fn read(names: &[&str]) -> Options {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut options = BTreeMap::new();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { end(&format!("{} wants a value", pair[0])) };
            if !names.contains(&name.as_str()) {
                end(&format!("{name} is none of {}", names.join(", ")));
            }
            options.insert(name.clone(), value.clone());
        }
        Options(options)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str, default: u64) -> u64 {
        let read = |text: &str| text.parse().unwrap_or_else(|_| end(&format!("{name}: {text} is no number")));
        self.text(name).map_or(default, read)
    }
}

fn end(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2)
}
