//! A progress bar on standard error, where that is a terminal; nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that is being drawn.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins at nothing; `bytes` or records are counted.
    pub fn start(what: &'static str, bytes: bool) -> Progress {
        let bar = ProgressBar::new(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let counted = if bytes { "{bytes}/{total_bytes}" } else { "{human_pos}/{human_len}" };
        let template = format!("{{msg}} {{wide_bar}} {counted} {{eta}}");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is right"));
        bar.set_message(what);
        Progress(bar)
    }

    /// So many of so many are done.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Takes it away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
